package cyrus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

const maxKeytab = 1 << 20 // octets

// Principals lists whose keys are in a file of Kerberos keys, as
// "vnc/host.example.com@EXAMPLE.COM", each once. Errors hold no key.
func Principals(data []byte) (list []string, err error) {
	defer func() {
		// The library does not promise that it never panics.
		if recover() != nil {
			list, err = nil, errors.New("this is no keytab")
		}
	}()
	if len(data) > maxKeytab {
		return nil, fmt.Errorf("a keytab of %d octets; at most %d are read", len(data), maxKeytab)
	}
	keys := keytab.New()
	if err := keys.Unmarshal(data); err != nil {
		return nil, errors.New("this is no keytab")
	}
	for _, e := range keys.Entries {
		name := strings.Join(e.Principal.Components, "/") + "@" + e.Principal.Realm
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}
