# Makes private keys in every form that certtool and openssl have, each NAME.pem
# with the public key NAME.pub beside it. What a version cannot make is left out.
# usage: sh keys.sh DIRECTORY
set -u
cd "$1" || exit 1

c() { # NAME certtool-options
	name=certtool-$1
	shift
	certtool --generate-privkey "$@" --outfile "$name.pem" >/dev/null 2>&1 || { rm -f "$name.pem"; return; }
	certtool --load-privkey "$name.pem" --password secret --pubkey-info --outfile "$name.pub" >/dev/null 2>&1
}
o() { # NAME openssl-command
	name=openssl-$1
	shift
	openssl "$@" >"$name.pem" 2>/dev/null || { rm -f "$name.pem"; return; }
	openssl pkey -in "$name.pem" -passin pass:secret -pubout >"$name.pub" 2>/dev/null
}

c rsa --key-type rsa --bits 2048
c rsa-no-text --key-type rsa --bits 2048 --no-text
c rsa-pss --key-type rsa-pss --bits 2048
c rsa-pss-sha384 --key-type rsa-pss --bits 2048 --hash sha384 --salt-size 64
c rsa-oaep --key-type rsa-oaep --bits 2048
for curve in secp224r1 secp256r1 secp384r1 secp521r1; do c $curve --key-type ecdsa --curve $curve; done
for type in ed25519 ed448 x25519 x448; do c $type --key-type $type; done
c dsa --key-type dsa --bits 1024
c p8 --key-type ecdsa --curve secp256r1 --pkcs8 --password ''
for cipher in aes-128 aes-256 3des 3des-pkcs12 rc2-40 arcfour; do
	c p8-$cipher --key-type ecdsa --curve secp256r1 --pkcs8 --password secret --pkcs-cipher $cipher
done
# certtool 3.7.9 writes numbers whose top bit is set with a zero before them.
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	c 33-octets --key-type ecdsa --curve secp256r1
	sed -n '/BEGIN/,$p' certtool-33-octets.pem | openssl asn1parse | grep -q 'l=  33 prim: OCTET STRING' && break
done
sed 's/$/\r/' certtool-rsa.pem >certtool-crlf.pem
cp certtool-rsa.pub certtool-crlf.pub

o rsa genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048
o rsa-traditional rsa -traditional -in openssl-rsa.pem
o rsa-3-primes genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3
o rsa-exponent-3 genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3
o rsa-pss genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048
o rsa-pss-sha256 genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 \
	-pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32
for curve in P-224 P-256 P-384 P-521 brainpoolP256r1 secp256k1; do
	o $curve genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$curve
done
o explicit genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit
o parameters-block ecparam -name prime256v1 -genkey
o sec1 ec -in openssl-P-256.pem
o sec1-no-public ec -no_public -in openssl-P-256.pem
o p8-no-public pkcs8 -topk8 -nocrypt -in openssl-sec1-no-public.pem
o compressed ec -conv_form compressed -in openssl-P-256.pem
for type in ED25519 ED448 X25519 X448; do o $type genpkey -algorithm $type; done

p8() { # NAME options
	name=$1
	shift
	o p8-$name pkcs8 -topk8 -in openssl-P-256.pem -passout pass:secret "$@"
}
p8 default
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc des3 aes-256-cfb camellia-256-cbc; do p8 $cipher -v2 $cipher; done
for hash in SHA1 SHA224 SHA256 SHA384 SHA512 SHA512-256; do p8 $hash -v2prf hmacWith$hash; done
p8 one-iteration -iter 1
p8 scrypt -scrypt
p8 sha1-3des -v1 PBE-SHA1-3DES
p8 sha1-rc2 -v1 PBE-SHA1-RC2-40 -provider legacy -provider default
o headers-aes256 rsa -traditional -aes256 -passout pass:secret -in openssl-rsa.pem
o headers-3des ec -des3 -passout pass:secret -in openssl-P-256.pem

for size in 44 65 87; do
	for form in seed-priv seed-only priv-only; do
		o mldsa$size-$form genpkey -algorithm ML-DSA-$size -provparam ml-dsa.output_formats=$form
	done
done
for form in bare-seed bare-priv oqskeypair; do
	o mldsa44-$form genpkey -algorithm ML-DSA-44 -provparam ml-dsa.output_formats=$form
done
o mldsa65 genpkey -algorithm ML-DSA-65
[ -f openssl-mldsa65.pem ] && o p8-mldsa65 pkcs8 -topk8 -in openssl-mldsa65.pem -passout pass:secret
exit 0
