"""The authority of an agent and the leaves that it signed, which are there as soon as somebody asks for them.

Reading and making certificates takes the library for it, a fifth of what an agent imports, and many agents never
do. So nothing of it is imported before it is needed. What could be wrong is looked at when the agent starts all the
same: an authority that is remembered, and one that the configuration describes.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.authority_config import DEFAULT, AuthorityConfig
from reference.mesh.storage import AuthorityStorage

if TYPE_CHECKING:
    from reference.mesh.authority import Authority
    from reference.mesh.leaf import LeafCache

#: What readers of the roots wait for.
ROOTS = "roots"


class LeafNameError(ValueError):
    """No certificate can be made for this name; the text is the original's."""


class Mesh:
    """The certificates of the mesh; absent when Connect is not enabled (MP-CA-001)."""

    def __init__(
        self,
        storage: AuthorityStorage,
        *,
        datacenter: str,
        index: IndexClock,
        watch: Watch,
        wanted: AuthorityConfig = DEFAULT,
    ) -> None:
        self._storage = storage
        self._datacenter = datacenter
        self._index = index
        self._watch = watch
        self._wanted = wanted

    def prepare(self) -> None:
        """Open the authority now if that could fail for what somebody wrote or stored.

        Raises what :meth:`reference.mesh.authority.Authority.open` raises.
        """
        if self._wanted.private_key or self._storage.exists():
            _ = self.authority

    @cached_property
    def authority(self) -> Authority:
        """Who signs. Raises what :meth:`reference.mesh.authority.Authority.open` raises."""
        from reference.mesh.authority import Authority

        return Authority.open(
            self._storage, datacenter=self._datacenter, index=self._index, wanted=self._wanted
        )

    @cached_property
    def leaves(self) -> LeafCache:
        """What was signed for the services of this agent."""
        from reference.mesh.leaf import LeafCache

        return LeafCache(self.authority, index=self._index, watch=self._watch)

    @property
    def signed(self) -> int:
        """How many leaves were signed so far."""
        return self.leaves.signed if "leaves" in self.__dict__ else 0

    def configure(self, wanted: AuthorityConfig) -> None:
        """Tell the authority something else; with a new root everybody who waits for roots or leaves hears of it.

        Raises :class:`~reference.mesh.authority_config.ConfigurationRefused` and
        :class:`~reference.catalog.documents.StorageError`.
        """
        if self.authority.configure(wanted):
            self.leaves.renew_soon()
            self._watch.notify(ROOTS)
