"""Prepared queries: questions about services that are kept under a name, and how they are answered.

==============  ======================================================================================
``model``       what a user says of a query, and what can be wrong with it
``hil``         the language of templates: text with ``${…}`` in it
``templates``   queries that answer for every name with a prefix
``selection``   which instances answer a query, and in which order
``register``    the queries of an agent: stored, changed, found by id or name
``execution``   a name becomes instances, for HTTP and DNS alike
==============  ======================================================================================
"""
