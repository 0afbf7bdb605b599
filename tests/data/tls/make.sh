#!/usr/bin/env bash
# Makes the certificates of the test forge anew. Nothing here is secret: the keys guard loopback servers of tests.
# Dates are fixed (2000 to 2126; the expired one ends in 2001), so no test depends on when this ran.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

cat >ca.cnf <<'CNF'
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
copy_extensions = none
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[loopback]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:127.0.0.2
[elsewhere]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.example
CNF

# sign NAME SECTION END [self]
sign() {
  : >index.txt
  local by=(-cert ca.pem -keyfile ca.key)
  if [[ ${4-} == self ]]; then by=(-selfsign -keyfile "$1.key"); fi
  openssl ca -batch -notext -config ca.cnf -extensions "$2" -startdate 20000101000000Z -enddate "$3" \
    "${by[@]}" -in "$1.csr" -out "$1.pem" 2>/dev/null
}

key ca
openssl req -new -key ca.key -subj "/CN=hyper-sync test authority" -out ca.csr
sign ca authority 21260101000000Z self
cp ca.pem "$here/ca.pem"

key server
openssl pkcs8 -topk8 -nocrypt -in server.key -outform DER -out "$here/server.key.der"
for row in good:loopback:21260101000000Z: expired:loopback:20010101000000Z: elsewhere:elsewhere:21260101000000Z: \
  selfsigned:loopback:21260101000000Z:self; do
  IFS=: read -r name section end self <<<"$row"
  cp server.key "$name.key"
  openssl req -new -key server.key -subj "/CN=hyper-sync test forge ($name)" -out "$name.csr"
  sign "$name" "$section" "$end" "$self"
  openssl x509 -in "$name.pem" -outform DER -out "$here/$name.der"
done
