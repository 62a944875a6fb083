package certtemplate

import "strings"

// A kind is how certtool reads an option.
type kind int

const (
	text    kind = iota // the first one counts
	number              // the digits at its beginning; the first one counts
	boolean             // true if it is there
	multi               // all count
)

// A key is an option that certtool knows.
type key struct {
	name string // policy* stands for all that begin so
	kind kind
}

// keys are all options, as certtool 3.7.9 to 3.8.13 know them.
var keys = []key{
	{"unit", multi}, {"ou", multi}, {"organization", multi}, {"o", multi}, {"dc", multi},
	{"locality", text}, {"state", text}, {"dn", text}, {"cn", text}, {"uid", text}, {"country", text},
	{"pkcs9_email", text}, {"dn_oid", multi},
	{"dns_name", multi}, {"ip_address", multi}, {"email", multi}, {"uri", multi}, {"krb5_principal", multi},
	{"other_name", multi}, {"other_name_utf8", multi}, {"other_name_octet", multi}, {"xmpp_name", multi},
	{"key_purpose_oid", multi}, {"tls_feature", multi},
	{"nc_exclude_dns", multi}, {"nc_exclude_ip", multi}, {"nc_exclude_email", multi},
	{"nc_permit_dns", multi}, {"nc_permit_ip", multi}, {"nc_permit_email", multi},
	{"add_extension", multi}, {"add_critical_extension", multi},
	{"crl_dist_points", multi}, {"ocsp_uri", multi}, {"ca_issuers_uri", multi},
	{"subject_unique_id", text}, {"issuer_unique_id", text},
	{"challenge_password", text}, {"password", text}, {"pkcs12_key_name", text},
	{"expiration_date", text}, {"activation_date", text}, {"expiration_days", number}, {"serial", text},
	{"crl_revocation_date", text}, {"crl_this_update_date", text}, {"crl_next_update_date", text},
	{"crl_next_update", number}, {"crl_number", text},
	{"policy*", multi}, {"inhibit_anypolicy_skip_certs", number},
	{"proxy_policy_language", text},
	{"ca", boolean}, {"path_len", number}, {"honor_crq_extensions", boolean}, {"honor_crq_ext", multi},
	{"tls_www_client", boolean}, {"tls_www_server", boolean},
	{"signing_key", boolean}, {"encryption_key", boolean}, {"cert_signing_key", boolean}, {"crl_signing_key", boolean},
	{"code_signing_key", boolean}, {"ocsp_signing_key", boolean}, {"time_stamping_key", boolean},
	{"email_protection_key", boolean}, {"ipsec_ike_key", boolean},
	{"key_agreement", boolean}, {"data_encipherment", boolean}, {"non_repudiation", boolean},
}

// lookupKey finds the option that certtool takes a name for, nil if none.
func lookupKey(name string) *key {
	for i := range keys {
		prefix, wild := strings.CutSuffix(keys[i].name, "*")
		if name == keys[i].name || wild && strings.HasPrefix(name, prefix) {
			return &keys[i]
		}
	}
	return nil
}
