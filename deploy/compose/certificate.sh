#!/bin/sh
# Makes a throw-away certificate for localhost in the folder $1, unless there is one.
set -eu
umask 077
cd -- "$1"
[ ! -s tls.crt ] || exit 0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout tls.key -out new.crt
mv new.crt tls.crt
