"""The service over HTTP: routes, who may call them, and what lies around them all.

Start at :mod:`service.http.app`, which joins them. Each module of routes is one noun of the API;
who calls is settled in :mod:`service.http.callers`, doing a thing once in
:mod:`service.http.calls`, and errors become problems in :mod:`service.http.problem_handlers`.
"""
