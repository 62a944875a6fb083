package pki

import (
	"encoding/asn1"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSetAll(t *testing.T) {
	e := func(last int, value string) Extension {
		return Extension{OID: asn1.ObjectIdentifier{1, 2, last}, Value: []byte(value)}
	}
	for _, tt := range []struct {
		name      string
		old, more Extensions
	}{
		{"none", nil, nil},
		{"new", Extensions{e(1, "a")}, Extensions{e(2, "b"), e(3, "c")}},
		{"replaced", Extensions{e(1, "a"), e(2, "b")}, Extensions{e(2, "c"), e(1, "d")}},
		{"twice in the new", Extensions{e(1, "a")}, Extensions{e(2, "b"), e(2, "c")}},
		{"twice in the old", Extensions{e(1, "a"), e(1, "b")}, Extensions{e(1, "c")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := append(Extensions(nil), tt.old...)
			for _, e := range tt.more {
				want.Set(e)
			}
			got := append(Extensions(nil), tt.old...)
			got.SetAll(tt.more)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-Set one by one +SetAll\n%s", diff)
			}
		})
	}
}
