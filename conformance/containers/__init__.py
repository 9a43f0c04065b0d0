"""Containers: the engine that runs them and the images that the suite brings.

Map: :mod:`~conformance.containers.engine` reaches the engine and knows whose containers are whose;
:mod:`~conformance.containers.images` says which images there are and builds them, from
:mod:`~conformance.containers.bases` and a :mod:`~conformance.containers.wheelhouse`;
:mod:`~conformance.containers.network` is one check's network with its containers,
:mod:`~conformance.containers.namespaces` lets the suite look at it from within.
"""
