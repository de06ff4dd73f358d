"""The service over HTTP: what lies around every route.

Start at :mod:`service.http.middleware`; errors become problems in
:mod:`service.http.problem_handlers`.
"""
