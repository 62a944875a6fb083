package authz_test

import (
	"fmt"

	"virtls/authz"
)

// libvirt's tls_allowed_dn_list. Names are in the order of the certificate,
// which virt-pki-query-dn and virtls show print.
func ExampleDNList() {
	list := authz.DNList{"O=Example Org,CN=kvm*.example.com", "O=Example Org,CN=admin"}
	for _, name := range []string{"O=Example Org,CN=kvm7.example.com", "CN=admin,O=Example Org"} {
		ok, err := list.Allowed(name)
		fmt.Println(name, ok, err)
	}
	// Output:
	// O=Example Org,CN=kvm7.example.com true <nil>
	// CN=admin,O=Example Org false <nil>
}

// QEMU's authz-list: the first rule that matches decides.
func ExampleList() {
	list := &authz.List{
		Policy: authz.Deny,
		Rules: []authz.Rule{
			{Match: "O=Example Org,CN=guest*", Policy: authz.Deny, Format: authz.Glob},
			{Match: "O=Example Org,*", Policy: authz.Allow, Format: authz.Glob},
		},
	}
	for _, name := range []string{"O=Example Org,CN=guest1", "O=Example Org,CN=backup", "O=Other,CN=backup"} {
		ok, _ := list.Allowed(name)
		fmt.Println(name, ok)
	}
	// Output:
	// O=Example Org,CN=guest1 false
	// O=Example Org,CN=backup true
	// O=Other,CN=backup false
}
