"""§5.2, §5.3 and §5.8: Tables 1 and 2, figures 3 and 4."""
