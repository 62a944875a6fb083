# Makes certificates (NAME.crt), requests (NAME.csr) and CRLs (NAME.crl) with
# certtool and openssl. The issuer of NAME.crl is NAME.crt. What a version
# cannot make is left out.
# usage: sh certs.sh DIRECTORY
set -u
cd "$1" || exit 1
keys=$(mktemp -d) || exit 1
trap 'rm -rf "$keys"' EXIT

cat >"$keys/ca.tmpl" <<T
organization = "Example, Inc."
unit = "Virtualization"
state = "Hesse"
country = DE
cn = "Example Root"
serial = 4711
expiration_days = 3650
ca
cert_signing_key
crl_signing_key
path_len = 2
nc_permit_dns = example.com
nc_exclude_dns = bad.example.com
nc_permit_ip = 192.0.2.0/24
nc_permit_email = example.com
T
cat >"$keys/server.tmpl" <<T
dn = "cn=host1.example.com,ou=Müller,o=Beispiel"
serial = 0x00aabbccddeeff00112233
expiration_days = 1000
dns_name = host1.example.com
dns_name = "*.kvm.example.com"
ip_address = 192.0.2.7
ip_address = 2001:db8::7
email = admin@example.com
uri = https://host1.example.com/
other_name_utf8 = "1.2.3.4.5 text"
tls_www_server
tls_www_client
signing_key
encryption_key
key_purpose_oid = 1.2.3.4
crl_dist_points = http://example.com/crl
ocsp_uri = http://example.com/ocsp
ca_issuers_uri = http://example.com/ca
policy1 = 1.3.6.1.4.1.5484.1.10.99.1.0
policy1_txt = "A long policy"
policy1_url = http://example.com/policy
tls_feature = 5
challenge_password = secret
add_extension = "1.2.3.4.6 octet_string(0xabcd)"
T
cat >"$keys/crl.tmpl" <<T
crl_next_update = 43
crl_number = 5
expiration_days = 43
T

for type in rsa rsa-pss ecdsa ed25519 ed448; do
	name=certtool-$type
	certtool --generate-privkey --key-type $type --outfile "$keys/$name.key" >/dev/null 2>&1 || continue
	certtool --generate-self-signed --load-privkey "$keys/$name.key" --template "$keys/ca.tmpl" --outfile $name.crt >/dev/null 2>&1
	certtool --generate-request --load-privkey "$keys/$name.key" --template "$keys/server.tmpl" --outfile $name.csr >/dev/null 2>&1
	certtool --generate-certificate --load-privkey "$keys/$name.key" --load-ca-privkey "$keys/$name.key" --load-ca-certificate $name.crt \
		--template "$keys/server.tmpl" --outfile $name-server.crt >/dev/null 2>&1
	certtool --generate-crl --load-ca-privkey "$keys/$name.key" --load-ca-certificate $name.crt --load-certificate $name-server.crt \
		--template "$keys/crl.tmpl" --outfile $name.crl >/dev/null 2>&1
done

cat >"$keys/openssl.cnf" <<T
[ca]
default_ca = here
[here]
database = $keys/index.txt
serial = $keys/serial
crlnumber = $keys/crlnumber
new_certs_dir = $keys
default_md = default
default_days = 1000
default_crl_days = 30
policy = any
copy_extensions = copy
crl_extensions = crl
[any]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid:always,issuer:always
issuingDistributionPoint = critical,@idp
[idp]
fullname = URI:http://example.com/crl
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = CA:TRUE
keyUsage = keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer:always
nameConstraints = critical,permitted;DNS:.example.com,permitted;dirName:base,excluded;IP:10.0.0.0/255.0.0.0
[base]
O = Example
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyAgreement
extendedKeyUsage = serverAuth,1.2.3.4
subjectAltName = DNS:host1.example.com,IP:192.0.2.7,email:a@example.com,URI:https://example.com/,RID:1.2.3.4,dirName:base,otherName:1.2.3.4;UTF8:text
certificatePolicies = 1.2.3.4,@policy
policyConstraints = requireExplicitPolicy:3,inhibitPolicyMapping:0
inhibitAnyPolicy = 2
authorityInfoAccess = OCSP;URI:http://example.com/ocsp,caIssuers;URI:http://example.com/ca
crlDistributionPoints = http
noCheck = ignored
[http]
fullname = URI:http://example.com/crl
CRLissuer = dirName:base
reasons = keyCompromise,CACompromise
[policy]
policyIdentifier = 1.3.5.8
CPS.1 = http://example.com/
userNotice.1 = @notice
[notice]
explicitText = UTF8:Nötig
organization = Example
noticeNumbers = 1,2
T
o() { # NAME key-type key-options
	name=openssl-$1
	shift
	: >"$keys/index.txt"
	echo 01 >"$keys/crlnumber"
	openssl rand -hex 16 >"$keys/serial"
	openssl genpkey -algorithm "$@" -out "$keys/$name.key" 2>/dev/null || return
	openssl req -x509 -new -key "$keys/$name.key" -config "$keys/openssl.cnf" -extensions root -subj "/O=Example/CN=$name+UID=x" -days 3650 -out $name.crt 2>/dev/null
	openssl req -new -key "$keys/$name.key" -config "$keys/openssl.cnf" -reqexts server -utf8 -subj "/O=Example/OU=Müller/CN=host1" -out $name.csr 2>/dev/null
	openssl ca -batch -config "$keys/openssl.cnf" -in $name.csr -cert $name.crt -keyfile "$keys/$name.key" -notext -out $name-server.crt 2>/dev/null
	openssl ca -config "$keys/openssl.cnf" -cert $name.crt -keyfile "$keys/$name.key" -revoke $name-server.crt -crl_reason keyCompromise 2>/dev/null
	openssl ca -config "$keys/openssl.cnf" -cert $name.crt -keyfile "$keys/$name.key" -gencrl -out $name.crl 2>/dev/null
}
o rsa RSA
o pss RSA-PSS -pkeyopt rsa_pss_keygen_md:sha384 -pkeyopt rsa_pss_keygen_mgf1_md:sha384 -pkeyopt rsa_pss_keygen_saltlen:48
for curve in P-224 P-256 P-384 P-521; do o $curve EC -pkeyopt ec_paramgen_curve:$curve; done
for type in ED25519 ED448 ML-DSA-44 ML-DSA-65 ML-DSA-87; do o $type $type; done

rsa() { # NAME options
	name=openssl-rsa-$1
	shift
	openssl req -x509 -new -key "$keys/openssl-rsa.key" -config "$keys/openssl.cnf" -extensions root -subj "/CN=$name" -days 3650 "$@" -out $name.crt 2>/dev/null || rm -f $name.crt
}
for hash in md5 sha1 sha224 sha384 sha512 sha3-224 sha3-256 sha3-384 sha3-512; do rsa $hash -$hash; done
rsa pss-20 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
rsa pss-64 -sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:64
rsa pss-sha1 -sha1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
openssl x509 -req -in openssl-P-256.csr -CA openssl-P-256.crt -CAkey "$keys/openssl-P-256.key" -days 10 -out openssl-v1.crt 2>/dev/null
exit 0
