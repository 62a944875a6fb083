package sasl

import (
	"fmt"
	"strings"
	"testing"
)

func TestLoginKeepsItsPassword(t *testing.T) {
	l := Login{"fred", []byte("hidden")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{l, &l, struct{ L Login }{l}} {
			got := fmt.Sprintf(verb, v)
			for _, secret := range []string{"hidden", "104, 105", "104 105", "0x68", "6869"} {
				if strings.Contains(got, secret) {
					t.Errorf("%s of %T prints %s", verb, v, got)
				}
			}
		}
	}
}
