"""Which API is spoken here."""

#: The version of the original.
API_VERSION = "1.4.3"
