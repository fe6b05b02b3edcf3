"""Who made a bundle: Ed25519 signatures over the exact bytes of its manifest, which holds the hash of every file.

Keys lie in ``keys`` of the configuration folder: ``bundle.key`` signs, and every public key
in ``trusted/`` is believed.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from json import JSONDecodeError, dumps, loads
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fedaffect.edge.bundle.manifest import manifest_bytes
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import write_whole
from fedaffect.edge.system.folders import config_folder

SIGNATURE: Final = "manifest.sig"
PRIVATE: Final = "bundle.key"
_TRUSTED: Final = "trusted"
_LARGEST_BYTES: Final = 64 * 1024


def keys_folder() -> Path:
    """Where this user's keys lie."""
    return config_folder() / "keys"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that a signature is checked with.

    Parameters
    ----------
    raw : bytes
        Its 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise BundleError("an Ed25519 public key has 32 bytes; ask the bundle's maker for the key file again")

    @property
    def id(self) -> str:
        """Short name: the first 16 hexadecimal digits of its SHA-256."""
        return sha256(self.raw).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """From a PEM file.

        Raises
        ------
        BundleError
            If it holds no Ed25519 public key.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise BundleError(f"{path} holds no public key ({error}); give an Ed25519 key in PEM") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BundleError(f"{path} is no Ed25519 key; give one")
        return cls(key.public_bytes_raw())

    def write(self, path: Path) -> None:
        """To a PEM file."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        _write(path, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; it never shows its bytes.

    Parameters
    ----------
    private : Ed25519PrivateKey
        The key.
    """

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that others check with."""
        return PublicKey(self.private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def own(cls, folder: Path | None = None) -> SigningKey:
        """The key of this user, made when first asked for; its public half is then trusted here.

        Parameters
        ----------
        folder : Path, optional
            Of the keys; `keys_folder` if not given.

        Raises
        ------
        BundleError
            If the key file is damaged or cannot be written.
        """
        folder = folder or keys_folder()
        path = folder / PRIVATE
        if not path.exists():
            _create(path)
        key = cls.read(path)
        trusted = folder / _TRUSTED / f"{key.public.id}.pem"
        if not trusted.exists():
            key.public.write(trusted)
        return key

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """From a PEM file without a password.

        Raises
        ------
        BundleError
            If it holds no Ed25519 private key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BundleError(f"{path} holds no usable private key ({error}); move it away to have one made") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BundleError(f"{path} is no Ed25519 key; give one")
        return cls(key)


def _create(path: Path) -> None:
    """Write a new private key, readable by nobody else; where another process was sooner, its key stays."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with suppress(FileExistsError):
        _write(path, pem, first=True)


def _write(path: Path, data: bytes, *, first: bool = False) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, data, private=True, first=first)
    except FileExistsError:
        raise
    except OSError as error:
        raise BundleError(
            f"cannot write {path} ({error.strerror}); set FEDAFFECT_CONFIG to a folder of yours"
        ) from error


def sign(folder: Path, key: SigningKey) -> None:
    """Sign the manifest of a bundle's folder as it lies there, replacing a signature that may be there."""
    signature = key.private.sign(manifest_bytes(folder))
    content = {
        "key_id": key.public.id,
        "public_key": b64encode(key.public.raw).decode(),
        "signature": b64encode(signature).decode(),
    }
    write_whole(folder / SIGNATURE, (dumps(content, indent=2) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles are believed.

    Parameters
    ----------
    keys : mapping of str to PublicKey
        By id.
    """

    keys: Mapping[str, PublicKey]

    @classmethod
    def of(cls, keys: Iterable[PublicKey]) -> Trust:
        """Those keys and no others."""
        return cls({key.id: key for key in keys})

    @classmethod
    def default(cls) -> Trust:
        """The keys in this user's folder of trusted keys.

        Raises
        ------
        BundleError
            If one of the files there is no key.
        """
        return cls.of(PublicKey.read(path) for path in sorted((keys_folder() / _TRUSTED).glob("*.pem")))

    def check(self, folder: Path, manifest: bytes, source: Path | None = None) -> PublicKey:
        """Who signed a manifest.

        Parameters
        ----------
        folder : Path
            The bundle's, with its signature.
        manifest : bytes
            What was signed.
        source : Path, optional
            What the user knows the bundle as, named in errors: a tar, where the folder is what came out of it.

        Raises
        ------
        BundleError
            If there is no signature, it does not fit, or nobody here trusts the key.
        """
        source = source or folder
        public, signature = _read(folder, source)
        try:
            Ed25519PublicKey.from_public_bytes(public.raw).verify(signature, manifest)
        except InvalidSignature:
            raise BundleError(
                f"{source / SIGNATURE} does not fit the manifest beside it: one of them was changed; "
                f"get the bundle again, or build it with: fedaffect bundle build"
            ) from None
        if public.id not in self.keys:
            raise BundleError(
                f"{source} is signed with key {public.id}, which is not trusted here; if you know whose it is: "
                f"fedaffect bundle trust {source}"
            )
        return public


def trust_key(public: PublicKey, by: str = "") -> Path:
    """Believe bundles that this key signed, from now on; returns the file that says so.

    Parameters
    ----------
    public : PublicKey
    by : str
        Who vouches for the key: it is trusted until nobody who did so is left. Empty for this user.
    """
    path = keys_folder() / _TRUSTED / f"{public.id}{f'.{_voucher(by)}' if by else ''}.pem"
    public.write(path)
    return path


def forget_trust(by: str) -> None:
    """No longer believe bundles because of what somebody else vouched for; this user's own word stays."""
    for path in (keys_folder() / _TRUSTED).glob(f"*.{_voucher(by)}.pem"):
        path.unlink(missing_ok=True)


def _voucher(by: str) -> str:
    # By its hash, for it may be of any characters.
    return sha256(by.encode()).hexdigest()[:16]


def signer(folder: Path, source: Path | None = None) -> PublicKey:
    """The key that a bundle says signed it; whether that is true only `Trust.check` tells.

    Parameters
    ----------
    folder : Path
        The bundle's.
    source : Path, optional
        What errors name instead, as in `Trust.check`.

    Raises
    ------
    BundleError
        If it is not signed, or the signature file is damaged.
    """
    return _read(folder, source or folder)[0]


def _base64(text: str) -> bytes:
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError("bits beside the last byte are set")
    return raw


def _read(folder: Path, source: Path) -> tuple[PublicKey, bytes]:
    path, named = folder / SIGNATURE, source / SIGNATURE
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise BundleError(f"{named} is no signature: it is far too large; get the bundle again")
        content = loads(path.read_text(encoding="utf-8"))
        public = PublicKey(_base64(content["public_key"]))
        signature = _base64(content["signature"])
        claimed = content["key_id"]
    except FileNotFoundError:
        raise BundleError(
            f"{source} is not signed; sign your own with: fedaffect bundle sign "
            f"{'FOLDER, and pack it again' if source.is_file() else source}, "
            f"or for development only: --allow-unsigned"
        ) from None
    except (OSError, UnicodeDecodeError, JSONDecodeError, RecursionError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{named} is not a signature that can be read ({error!r}); get the bundle again") from error
    if claimed != public.id:
        raise BundleError(f"{named} names another key than it carries; get the bundle again")
    return public, signature
