package priority_test

import (
	"fmt"

	"virtls/priority"
)

func Example() {
	s, err := priority.Parse("SUITEB128:+VERS-TLS1.3:-AES-256-GCM")
	if err != nil {
		fmt.Println(err)
		return
	}
	build, err := priority.BuildFor("3.8.9-3+deb13u1")
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := s.Expand(build, priority.SystemConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, suite := range list.Suites {
		fmt.Println(suite.Name)
	}
	// Output:
	// TLS_AES_128_GCM_SHA256
	// TLS_ECDHE_ECDSA_AES_128_GCM_SHA256
}

func ExampleParse_wrong() {
	_, err := priority.Parse("NORMAL:-VERS-TLS1.O")
	fmt.Println(err)
	// Output:
	// priority "NORMAL:-VERS-TLS1.O", character 8: no version of GnuTLS understands this part of the priority string: found "-VERS-TLS1.O"; wanted -VERS-TLS1.0 (by GnuTLS)
}
