# An authority that only the test's machines trust, and the forge's certificate from it.
{ openssl, runCommand }:
runCommand "certificates" { nativeBuildInputs = [ openssl ]; } ''
  mkdir $out
  cd $out
  curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc"
  openssl req -x509 $curve -days 36500 -subj "/CN=test authority" -keyout ca.key -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE
  openssl req $curve -subj /CN=forge -keyout forge.key -out forge.csr
  printf 'subjectAltName=DNS:forge\nbasicConstraints=CA:FALSE\n' >extensions
  openssl x509 -req -in forge.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 36500 -extfile extensions -out forge.crt
''
