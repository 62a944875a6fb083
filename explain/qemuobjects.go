package explain

// qemuObjects are the texts of -object, --object and object-add, and of access lists.
var qemuObjects = []Entry{
	{
		ID: "qemu-object-refused", By: "libvirt",
		Texts: []string{"unable to execute QEMU command {id}:"},
		Means: "QEMU refused what libvirt asked it for; the rest of the line is QEMU's own text",
		Vague: true,
		Causes: []Cause{
			because("for object-add it is credentials: their files, as the guest's QEMU process sees them", guestLog, "virtls validate"),
		},
	},
	{
		ID: "qemu-no-credentials", By: "QEMU",
		Texts: []string{"No TLS credentials with id {id}", "Object with id {id} is not TLS credentials"},
		Means: "tls-creds= names no credential object",
		Causes: []Cause{
			because("the id is misspelt, or is that of a secret or an access list", commandEnd, "virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/objects\"}}'"),
			because("the --object that makes the credentials is missing, or comes only later on the command line of a tool", commandEnd,
				"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=HOST,tls-creds=tls0"),
			because("QMP or a migration parameter has the id of an object that was deleted or never added in this QEMU", "migration: query-migrate-parameters on that side", "virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"query-migrate-parameters\"}'"),
		},
	},
	{
		ID: "qemu-credentials-type", By: "QEMU",
		Texts: []string{"Unsupported TLS cred type {type}"},
		Means: "this service does not take credentials of this type",
		Causes: []Cause{
			because("VNC takes tls-creds-x509 and tls-creds-anon; PSK is for NBD, migration and character devices", commandEnd,
				"qemu-system-x86_64 -object tls-creds-x509,id=tls0,dir=DIR,endpoint=server -vnc :1,tls-creds=tls0"),
		},
	},
	{
		ID: "qemu-boolean", By: "QEMU",
		Texts: []string{"Parameter {id} expects 'on' or 'off'", "Invalid parameter type for {id}, expected: boolean"},
		Means: "a switch has a value that is none",
		Causes: []Cause{
			because("on the command line it is on, yes, true, y, off, no, false or n; in JSON it is true or false, without quotes", commandEnd,
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=DIR,endpoint=server,verify-peer=on --tls-creds tls0 IMAGE"),
		},
	},
	{
		ID: "qemu-enum", By: "QEMU",
		Texts: []string{"Parameter {name} does not accept value {id}"},
		Means: "a property has a value that it cannot have",
		Causes: []Cause{
			because("endpoint is client or server, one object per direction; policy is allow or deny; a rule's format is exact or glob", commandEnd, "qemu-img info --object tls-creds-x509,help"),
		},
	},
	{
		ID: "qemu-object-type", By: "QEMU",
		Texts: []string{"Parameter 'qom-type' does not accept value {type}", "invalid object type: {type}"},
		Means: "there is no object of this type in this build of QEMU",
		Causes: []Cause{
			because("the type is misspelt: tls-creds-x509, tls-creds-psk, tls-creds-anon, authz-simple, authz-list, secret", commandEnd, "qemu-img info --object help"),
			because("authz-listfile cannot be made in any released version, by a mistake in QEMU: use authz-list", commandEnd,
				"qemu-nbd --object authz-list,id=auth0,policy=deny,rules.0.match=DN,rules.0.policy=allow --tls-authz auth0 --tls-creds tls0 IMAGE"),
			because("authz-pam is left out of Debian's builds", "the distribution's build", "qemu-img info --object help"),
		},
	},
	{
		ID: "qemu-unknown-parameter", By: "QEMU",
		Texts: []string{"Parameter {id} is unexpected", "Invalid parameter {id}"},
		Means: "the object, device or command has no parameter of this name",
		Causes: []Cause{
			because("'verify' is verify-peer; 'loaded' was removed in 9.2, chardev's 'reconnect' in 10.2 (it is reconnect-ms), VNC's 'tls', 'x509', 'x509verify' in 3.1 and 'acl' in 6.0", commandEnd,
				"qemu-img info --object tls-creds-x509,help"),
			because("a list like rules.0.match is for the tools only; qemu-system-* wants JSON there", commandEnd,
				"qemu-system-x86_64 -object '{\"qom-type\":\"authz-list\",\"id\":\"auth0\",\"policy\":\"deny\",\"rules\":[{\"match\":\"DN\",\"policy\":\"allow\"}]}'"),
			because("a comma in a value was not doubled: a DN needs CN=a,,O=b", commandEnd,
				"qemu-nbd --object authz-simple,id=auth0,identity=O=b,,CN=a --tls-authz auth0 --tls-creds tls0 IMAGE"),
			because("the option is newer than this QEMU", "the version", "qemu-img --version"),
		},
	},
	{
		ID: "qemu-missing-parameter", By: "QEMU",
		Texts: []string{"Parameter {id} is missing", "Parameters '{id}.*' are unexpected", "Parameters '{id}.*' used inconsistently"},
		Means: "a property that the object must have is missing, or a list is written where a single value belongs",
		Causes: []Cause{
			because("each rule of authz-list needs match and policy: rules.0.match=DN,rules.0.policy=allow", commandEnd,
				"qemu-nbd --object authz-list,id=auth0,policy=deny,rules.0.match=DN,rules.0.policy=allow --tls-authz auth0 --tls-creds tls0 IMAGE"),
			because("another property is missing or misspelt", commandEnd, "qemu-img info --object tls-creds-x509,help"),
		},
	},
	{
		ID: "qemu-json", By: "QEMU",
		Texts: []string{"JSON parse error", "Expecting a JSON value", "Expecting at most one JSON value", "JSON token size limit exceeded", "JSON token count limit exceeded", "JSON nesting depth limit exceeded"},
		Means: "an argument or file that should be JSON is not",
		Causes: []Cause{
			because("the shell took the quotes: put the whole argument in single quotes", commandEnd,
				"qemu-system-x86_64 -object '{\"qom-type\":\"tls-creds-x509\",\"id\":\"tls0\",\"endpoint\":\"server\",\"dir\":\"DIR\",\"verify-peer\":true}'"),
			because("there is a comma after the last member, a name without quotes, or on and off instead of true and false", commandEnd, "qemu-img info --object tls-creds-x509,help"),
			because("the file of an access list was read while it was being written: replace it by renaming a complete one over it", "the file", "cat FILE"),
		},
	},
	{
		ID: "qemu-no-equals", By: "QEMU",
		Texts: []string{"Expected '=' after parameter {id}"},
		Means: "the tools want key=value everywhere",
		Causes: []Cause{
			because("a switch stands alone, as qemu-system-* still allows: write verify-peer=on", commandEnd, "qemu-img info --object tls-creds-x509,help"),
			because("a comma in a value was not doubled: a DN needs CN=a,,O=b", commandEnd,
				"qemu-nbd --object authz-simple,id=auth0,identity=O=b,,CN=a --tls-authz auth0 --tls-creds tls0 IMAGE"),
		},
	},
	{
		ID: "qemu-object-id", By: "QEMU",
		Texts: []string{"Parameter 'id' is missing", "Parameter 'id' expects an identifier"},
		Means: "every object needs an id= that begins with a letter and has letters, digits, '-', '.' and '_'",
		Causes: []Cause{
			because("id= is missing, or begins with a digit or has other characters", commandEnd,
				"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=HOST,tls-creds=tls0"),
		},
	},
	{
		ID: "qemu-object-twice", By: "QEMU",
		Texts: []string{"attempt to add duplicate property {id} to object (type 'container')", "Duplicate ID {id} for object"},
		Means: "two objects have the same id: credentials, secrets and access lists share one space of names",
		Causes: []Cause{
			because("client's and server's credentials have one id, or an object was not deleted after a failed attempt", commandEnd,
				"virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"object-del\",\"arguments\":{\"id\":\"ID\"}}'"),
		},
	},
	{
		ID: "qemu-authz-unknown", By: "QEMU",
		Texts: []string{"Cannot find QAuthZ object ID {id}", "Object {id} is not a QAuthZ subclass"},
		Means: "tls-authz or sasl-authz names no access list, so everybody is denied",
		Causes: []Cause{
			because("the id is misspelt, or the --object is missing: QEMU looks it up only when a client comes", "the server's command line", "qemu-nbd --object authz-list,id=auth0,policy=deny --tls-authz auth0 --tls-creds tls0 IMAGE"),
			because("the id is empty: a migration with tls-authz \"\" denies everybody up to 10.2; since 11.0 it means no access list", "query-migrate-parameters on the receiving side",
				"virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"query-migrate-parameters\"}'").in("QEMU before 11.0"),
		},
	},
	{
		ID: "qemu-authz-denied", By: "QEMU",
		Texts: []string{"TLS x509 authz check for {dn} is denied"},
		Means: "the client's certificate is good, but its name is not on the server's access list",
		Causes: []Cause{
			because("the list has the name in another order or form: QEMU compares the order of the encoding, C=...,O=...,CN=... for certtool's certificates, letter by letter; certtool -i and the documentation show it backwards", "the name in the text against the list on the server's command line",
				"virtls virt-pki-query-dn CERTIFICATE"),
			because("a comma in the name was not doubled on the command line, or the shell took a character", "the server's command line", "qemu-nbd --object authz-simple,id=auth0,identity=O=b,,CN=a --tls-authz auth0 --tls-creds tls0 IMAGE"),
			because("no rule matches and policy= was not given, which means deny; or an earlier rule denies: the first that matches counts", "the list", "virtls virt-pki-query-dn CERTIFICATE"),
			because("format=glob is missing: without it * and ? are letters like others", "the list", "virtls virt-pki-query-dn CERTIFICATE"),
		},
	},
	{
		ID: "qemu-authz-simple", By: "QEMU",
		Texts: []string{"Parameter 'identity' is missing"},
		Means: "authz-simple needs the one name that it allows",
		Causes: []Cause{
			because("identity= is missing", commandEnd, "qemu-nbd --object authz-simple,id=auth0,identity=O=b,,CN=a --tls-authz auth0 --tls-creds tls0 IMAGE", "virtls virt-pki-query-dn CERTIFICATE"),
		},
	},
	{
		ID: "qemu-authz-file", By: "QEMU",
		Texts: []string{"Filename must be an absolute path", "Path has no trailing filename component", "filename not provided", "File {file} must contain a JSON object"},
		Means: "the file of an access list cannot be used, and everybody is denied",
		Causes: []Cause{
			because("the file's name must be absolute", commandEnd, "realpath FILE"),
			because("the file must be JSON: {\"policy\": \"deny\", \"rules\": [{\"match\": \"DN\", \"policy\": \"allow\"}]}; the bare name of the documentation's example is not", "the file", "cat FILE"),
		},
	},
	{
		ID: "qemu-authz-file-unreadable", By: "QEMU",
		Texts: []string{"Unable to read {file}:"},
		Means: "the file of an access list cannot be read, and everybody is denied until it can",
		Causes: []Cause{
			because("it is not there, may not be read by QEMU's user, or was being written: replace it by renaming a complete one over it", "owner, group and mode", "namei -l {file}"),
		},
	},
	{
		ID: "qemu-authz-pam", By: "QEMU",
		Texts: []string{"The 'service' property must be set", "Unable to start PAM transaction", "Unable to authorize user {id}:"},
		Means: "PAM was asked whether this name may come in, and did not say yes",
		Causes: []Cause{
			because("the account rules of /etc/pam.d/SERVICE do not know the whole name (a DN for TLS, a user for SASL)", "/etc/pam.d and the authentication log", "journalctl -t qemu-system-x86_64"),
			because("service= is missing, or names no file in /etc/pam.d", commandEnd, "ls /etc/pam.d"),
		},
	},
	{
		ID: "qemu-authz-without-tls", By: "QEMU",
		Texts: []string{
			"--tls-authz is not permitted without --tls-creds", "'tls-authz' provided but TLS is not enabled",
			"'tls_authz' option requires 'tls_creds' option", "TLS authorization is incompatible with export list",
		},
		Means: "an access list for certificates makes sense only on a server with TLS",
		Causes: []Cause{
			because("tls-creds= is missing; with PSK, anonymous credentials or verify-peer=off the list would be ignored", commandEnd,
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=DIR,endpoint=server --object authz-list,id=auth0,policy=deny --tls-creds tls0 --tls-authz auth0 IMAGE"),
		},
	},
	{
		ID: "qemu-sasl-authz", By: "QEMU",
		Texts: []string{"'sasl-authz' provided but SASL auth is not enabled"},
		Means: "an access list for SASL users makes sense only with SASL",
		Causes: []Cause{
			because("sasl=on is missing", commandEnd, "qemu-system-x86_64 -vnc :1,tls-creds=tls0,sasl=on,sasl-authz=auth0"),
		},
	},
	{
		ID: "qemu-sasl-conf", By: "QEMU",
		Texts: []string{"Failed to initialize SASL auth: error when parsing configuration file"},
		Means: "a line of the configuration of Cyrus SASL is not KEY: VALUE, so QEMU does not start",
		Causes: []Cause{
			because("there is a blank before the colon, an equals sign in its place, or no value", "/etc/sasl2/qemu.conf, or qemu.conf in the directory that vnc_sasl_dir of /etc/libvirt/qemu.conf names",
				"virtls validate", "virtls validate --sasl-conf"),
		},
	},
}
