"""What is kept, in SQL: the one place where a fact is true. Start with `Database.open`.

Stores are functions that take the unit of work they are part of, so that one unit may hold an
answer, its evidence, its place in the log and the reply that is repeated for the same request.
"""
