"""Students of GPT-2 and Llama teachers, many at once: every weight has a leading axis of students."""
