"""TLS for the HTTP API: the server's side, from the files and rules of the configuration."""

from __future__ import annotations

import ssl

from reference.agent.sockets import StartError
from reference.config.network import TlsOptions

#: Versions below 1.2 are taken as 1.2: no system of today offers them any more.
_VERSIONS = {"tls13": ssl.TLSVersion.TLSv1_3}


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """What HTTPS connections begin with. Raises :class:`StartError`, which names the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS.get(options.min_version, ssl.TLSVersion.TLSv1_2)
    if options.ciphers:
        try:
            context.set_ciphers(":".join(options.ciphers))
        except ssl.SSLError as error:
            raise StartError(
                "HTTPS cannot be served: this machine has none of the suites in tls_cipher_suites; name others"
            ) from error
    if options.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    load_certificate(context, options)
    if options.verify_incoming:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(options.ca_file or None, options.ca_path or None)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(options.ca_file or options.ca_path, error) from error
    return context


def load_certificate(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Have connections from now on begin with the certificate in the files, as they are now. Raises StartError."""
    try:
        # A key with a password would make OpenSSL ask the terminal for it.
        context.load_cert_chain(options.cert_file, options.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"{options.cert_file} and {options.key_file}", error) from error


def _no_password() -> str:
    return ""


def _unusable(files: str, error: OSError) -> StartError:
    reason = getattr(error, "reason", None) or error.strerror or "it is not in PEM form"
    return StartError(
        f"HTTPS cannot be served: {files} cannot be used: {reason}; correct the files or their paths"
    )
