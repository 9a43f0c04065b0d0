"""Options and definitions: what an agent and its services were told to be.

Map: :mod:`~reference.config.sources` reads files, directories, fragments (:mod:`~reference.config.hcl`) and flags;
:mod:`~reference.config.decode` checks them against the tables of :mod:`~reference.config.schema`;
:mod:`~reference.config.load` merges them and :mod:`~reference.config.settle` judges the result (with
:mod:`~reference.config.addresses`); :mod:`~reference.config.definition` makes services, of files and of requests;
:mod:`~reference.config.model` is what everybody else sees, and :class:`~reference.config.errors.ConfigError` what can
go wrong.
"""
