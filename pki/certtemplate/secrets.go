package certtemplate

// Password returns what generated keys and PKCS#12 files are to be encrypted
// with. ok is false if the template does not say.
func (t *Template) Password() (password string, ok bool) {
	e, ok := t.lookup("password")
	return e.Value, ok
}

// ChallengePassword returns the password that a request carries, "" for none,
// as it is written.
func (t *Template) ChallengePassword() string {
	e, _ := t.lookup("challenge_password")
	return e.Value
}

// PKCS12KeyName returns the friendly name for PKCS#12, "Anonymous" if the
// template has none.
func (t *Template) PKCS12KeyName() string {
	if e, ok := t.lookup("pkcs12_key_name"); ok {
		return e.Value
	}
	return "Anonymous"
}

// ProxyPolicyLanguage returns the object identifier of a proxy certificate's
// policy language: that of inheritAll (RFC 3820, 3.8.1) if the template has none.
func (t *Template) ProxyPolicyLanguage() string {
	if e, ok := t.lookup("proxy_policy_language"); ok {
		return e.Value
	}
	return "1.3.6.1.5.5.7.21.1"
}
