"""Students of GPT-2 and Llama teachers, many at once: every weight has a leading axis of students."""

from validation.students.make import make_student, make_students

__all__ = ["make_student", "make_students"]
