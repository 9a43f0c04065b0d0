"""The DNS face of the agent: what the catalog knows, under the names of one domain.

``zone``     which records a name has: from a question and a view of the catalog to a reply, without I/O
``message``  the form: from the bytes of a query to the bytes of an answer, within the size that the client takes
``server``   the sockets, UDP and TCP

The agent answers for its domain alone. It asks nobody else, so it refuses every other name.
"""
