package certtemplate

import "strings"

// A kind is how certtool reads an option.
type kind int

const (
	textOption   kind = iota // the first one counts
	numberOption             // the digits at its beginning; the first one counts
	flagOption               // true if it is there
	listOption               // all count
)

// A key is an option that certtool knows.
type key struct {
	name string // policy* stands for all that begin so
	kind kind
}

// keys are all options, as certtool 3.7.9 to 3.8.13 know them.
var keys = []key{
	{"unit", listOption}, {"ou", listOption}, {"organization", listOption}, {"o", listOption}, {"dc", listOption},
	{"locality", textOption}, {"state", textOption}, {"dn", textOption}, {"cn", textOption}, {"uid", textOption}, {"country", textOption},
	{"pkcs9_email", textOption}, {"dn_oid", listOption},
	{"dns_name", listOption}, {"ip_address", listOption}, {"email", listOption}, {"uri", listOption}, {"krb5_principal", listOption},
	{"other_name", listOption}, {"other_name_utf8", listOption}, {"other_name_octet", listOption}, {"xmpp_name", listOption},
	{"key_purpose_oid", listOption}, {"tls_feature", listOption},
	{"nc_exclude_dns", listOption}, {"nc_exclude_ip", listOption}, {"nc_exclude_email", listOption},
	{"nc_permit_dns", listOption}, {"nc_permit_ip", listOption}, {"nc_permit_email", listOption},
	{"add_extension", listOption}, {"add_critical_extension", listOption},
	{"crl_dist_points", listOption}, {"ocsp_uri", listOption}, {"ca_issuers_uri", listOption},
	{"subject_unique_id", textOption}, {"issuer_unique_id", textOption},
	{"challenge_password", textOption}, {"password", textOption}, {"pkcs12_key_name", textOption},
	{"expiration_date", textOption}, {"activation_date", textOption}, {"expiration_days", numberOption}, {"serial", textOption},
	{"crl_revocation_date", textOption}, {"crl_this_update_date", textOption}, {"crl_next_update_date", textOption},
	{"crl_next_update", numberOption}, {"crl_number", textOption},
	{"policy*", listOption}, {"inhibit_anypolicy_skip_certs", numberOption},
	{"proxy_policy_language", textOption},
	{"ca", flagOption}, {"path_len", numberOption}, {"honor_crq_extensions", flagOption}, {"honor_crq_ext", listOption},
	{"tls_www_client", flagOption}, {"tls_www_server", flagOption},
	{"signing_key", flagOption}, {"encryption_key", flagOption}, {"cert_signing_key", flagOption}, {"crl_signing_key", flagOption},
	{"code_signing_key", flagOption}, {"ocsp_signing_key", flagOption}, {"time_stamping_key", flagOption},
	{"email_protection_key", flagOption}, {"ipsec_ike_key", flagOption},
	{"key_agreement", flagOption}, {"data_encipherment", flagOption}, {"non_repudiation", flagOption},
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
