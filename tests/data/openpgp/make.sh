#!/usr/bin/env bash
# Makes the OpenPGP keys and signatures of the tests anew, so that these need `gpgv` alone. Nothing here is secret: the
# private keys are thrown away. All is made in 2024 and nothing ends but the expired key, so no test depends on when it
# runs. `payload` is the commit that tests/it/signature.rs makes, without a signature.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
export GNUPGHOME=$work
trap 'gpgconf --kill all; rm -rf "$work"' EXIT
cd "$work"

gpg() { command gpg --quiet --batch --no-tty --faked-system-time "$1" --pinentry-mode loopback --passphrase '' "${@:2}" 2>/dev/null; }
key() { gpg 20240101T000000 --quick-gen-key "$1 <$1@example.org>" "${@:2}"; }
sign() { gpg 20240102T000000 --armor --local-user "${2-$1}" --output "$here/$1.asc" "${@:3}" "$here/payload"; }

key good ed25519 sign never
fingerprint=$(gpg 20240101T000000 -k --with-colons good | awk -F: '/^fpr/ { print $10; exit }')
gpg 20240101T000000 --quick-add-key "$fingerprint" rsa2048 sign never
key other ed25519 sign never
key revoked ed25519 sign never
key expired ed25519 sign 2d

rm -f "$here"/*.asc "$here"/keys.gpg
sign good "$fingerprint!" --detach-sign
sign subkey good --detach-sign
sign other other --detach-sign
sign revoked revoked --detach-sign
sign expired expired --detach-sign
sign sha1 "$fingerprint!" --detach-sign --digest-algo SHA1
sign text "$fingerprint!" --detach-sign --textmode
# One armor, two signature packets.
sign two "$fingerprint!" --detach-sign --local-user revoked
# A whole signed message in the armor of a signature.
sign inline "$fingerprint!" --sign
sed -i 's/PGP MESSAGE/PGP SIGNATURE/' "$here/inline.asc"

fingerprint=$(gpg 20240101T000000 -k --with-colons revoked | awk -F: '/^fpr/ { print $10; exit }')
sed 's/^:-----/-----/' "openpgp-revocs.d/$fingerprint.rev" | gpg 20240103T000000 --import
gpg 20240103T000000 --export good revoked expired >"$here/keys.gpg"
gpg 20240103T000000 --export --armor good revoked expired >"$here/keys.asc"
