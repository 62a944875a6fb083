package explain

// gnutlsTools are the texts of certtool, gnutls-cli, gnutls-serv and psktool.
var gnutlsTools = []Entry{
	{
		ID: "gnutls-cli-issuer", By: "gnutls-cli",
		Texts: []string{"The certificate is NOT trusted. The certificate issuer is unknown", "The certificate issuer is unknown", "Status: The certificate is NOT trusted. The certificate issuer is unknown"},
		Means: "no authority of --x509cafile, or of the system without it, issued the server's certificate",
		Causes: []Cause{
			because("--x509cafile with the authority's certificate is missing: the system's authorities are not yours", "the arguments", "gnutls-cli --x509cafile ca-cert.pem --port PORT HOST"),
			because("the server's certificate is from another authority, or the intermediate is missing behind it in the server's file", "issuer and subject", "virtls show SERVERCERT CAFILE"),
		},
	},
	{
		ID: "gnutls-cli-expired", By: "gnutls-cli",
		Texts: []string{"The certificate is NOT trusted. The certificate chain uses expired certificate", "The certificate chain uses expired certificate", "The certificate is NOT trusted. The certificate chain uses not yet valid certificate", "The certificate chain uses not yet valid certificate"},
		Means: "the server's certificate, or one above it, is outside its days",
		Causes: []Cause{
			because("it was not renewed, or the server still serves the old one", "the dates of the certificates", "virtls status", "virtls renew", "virtls show SERVERCERT CAFILE"),
			because("a clock is wrong", "both clocks", "date -u"),
		},
	},
	{
		ID: "gnutls-cli-name", By: "gnutls-cli",
		Texts: []string{"The name in the certificate does not match the expected", "The certificate is NOT trusted. The name in the certificate does not match the expected"},
		Means: "the server's certificate does not have the name or address that was given",
		Causes: []Cause{
			because("the name is not among the certificate's, or the connection goes to an address: say --verify-hostname NAME", "the names in the certificate", "gnutls-cli --x509cafile ca-cert.pem --verify-hostname NAME --port PORT HOST", "virtls issue --server --cn HOST --dns NAME --ip ADDRESS"),
		},
	},
	{
		ID: "gnutls-cli-revoked", By: "gnutls-cli",
		Texts: []string{"The certificate chain is revoked", "The certificate is NOT trusted. The certificate chain is revoked"},
		Means: "the server's certificate is on the revocation list",
		Causes: []Cause{
			because("it was revoked: issue another one", "the list", "virtls list", "virtls issue --server --cn HOST"),
		},
	},
	{
		ID: "gnutls-cli-weak", By: "gnutls-cli",
		Texts: []string{"The certificate chain uses insecure algorithm", "The certificate is NOT trusted. The certificate chain uses insecure algorithm", "The signature in the certificate is invalid", "The certificate chain violates the signer's constraints", "The certificate chain does not match the intended purpose"},
		Means: "the server's chain does not hold",
		Causes: []Cause{
			because("SHA-1 or a small key; another authority of the same name; an intermediate that may not issue; a certificate that is not for servers", "every certificate of the chain", "virtls show SERVERCERT CAFILE"),
		},
	},
	{
		ID: "gnutls-cli-verification", By: "gnutls-cli",
		Texts: []string{"PKI verification of server certificate failed", "Fatal error: Error in the certificate"},
		Means: "gnutls-cli does not accept the server's certificate; the line before says why",
		Vague: true,
		Causes: []Cause{
			because("issuer, dates or name", "the line that begins with \"Status\"", "gnutls-cli --x509cafile ca-cert.pem --port PORT HOST"),
		},
	},
	{
		ID: "gnutls-cli-connect", By: "gnutls-cli, openssl",
		Texts: []string{"Cannot connect to {host}: Connection refused", "Could not connect to {host}: Connection refused", "connect:errno=111", "Connection refused"},
		Means: "nobody listens on this address and port",
		Causes: []Cause{
			because("the server is not running, or did not start because of its certificates", "the server's log; what listens there", "ss -ltnp", "virtls validate"),
			because("it listens on another address, such as 127.0.0.1 alone", "what listens there", "ss -ltnp"),
		},
	},
	{
		ID: "certtool-template", By: "certtool",
		Texts: []string{"Error loading template: {file}"},
		Means: "certtool cannot use the template",
		Causes: []Cause{
			because("a line of the template is not understood; certtool also ignores misspelt ones without a word", "the template", "virtls issue --template TEMPLATE"),
		},
	},
	{
		ID: "certtool-option-missing", By: "certtool",
		Texts: []string{"missing --load-privkey", "missing --load-ca-privkey", "missing --load-ca-certificate", "missing --load-certificate", "missing --load-pubkey", "missing --load-crl", "You must specify --load-privkey or --load-pubkey if missing"},
		Means: "certtool needs this option to do what was asked for",
		Causes: []Cause{
			because("a self-signed authority needs --load-privkey; a certificate needs the authority's --load-ca-certificate and --load-ca-privkey, and --load-privkey or --load-request", "the arguments",
				"virtls certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem --load-privkey key.pem --template TEMPLATE --outfile cert.pem"),
		},
	},
	{
		ID: "certtool-load", By: "certtool",
		Texts: []string{"error reading file at --load-privkey: {file}", "error reading file at --load-ca-privkey: {file}", "error reading file at {id}: {file}", "error importing private key: {file}", "error importing CA certificate: {file}", "error importing certificate request: {file}", "error loading file at --load-privkey: {file}", "error importing key at {file}", "importing public key: {file}",
			"import error: could not find a valid PEM header; check if your key is PKCS #12 encoded", "import error: could not find a valid PEM header", "Cannot open {file} for reading", "Error loading certificates:", "Error loading CRLs:", "error loading trust list"},
		Means: "certtool cannot read the file, or it is not what the option wants",
		Causes: []Cause{
			because("the file is not there, of another kind, DER without --inder, or encrypted without --password", "the file", "virtls show {file}"),
		},
	},
	{
		ID: "certtool-signing", By: "certtool",
		Texts: []string{"The signature is incompatible with the public key", "The public key is invalid", "The private key is invalid", "Error in the private key verification; seed doesn't match", "crt_sign:", "crl_privkey_sign:"},
		Means: "certtool cannot sign with this key",
		Causes: []Cause{
			because("the authority's key is not the one of its certificate, or cannot sign (X25519)", "the key ids of both", "virtls show CACERT CAKEY"),
		},
	},
	{
		ID: "certtool-verify", By: "certtool",
		Texts: []string{"Chain verification output: Not verified", "Output: Not verified", "Chain verification output: Not verified. The certificate is NOT trusted. The certificate issuer is unknown"},
		Means: "certtool --verify does not accept the certificate; the rest of the line says why",
		Vague: true,
		Causes: []Cause{
			because("another authority, an expired certificate, or one with a wrong purpose", "the rest of the line", "virtls show CERT CAFILE", "virtls validate"),
		},
	},
	{
		ID: "psktool", By: "psktool",
		Texts: []string{"You need to specify a PSK key file", "file {file}.tmp is locked", "Cannot open {file} for write"},
		Means: "psktool cannot write the file of keys",
		Causes: []Cause{
			because("-p FILE is missing, the file or its directory may not be written, or FILE.tmp is left over from a psktool that was killed", "the directory", "ls -l {dir}", "virtls psktool -u NAME -p keys.psk"),
		},
	},
}
