package virtpki

import (
	"errors"
	"fmt"

	"virtls/dropin"
)

var queryDN = program{name: "virt-pki-query-dn", usage: `Usage:
  virt-pki-query-dn FILE
  virt-pki-query-dn { -v | -h }

Extract Distinguished Name from a PEM certificate.
The output is meant to be used in the tls_allowed_dn_list
configuration option in the libvirtd.conf file.

  FILE            certificate file to extract the DN from

options:
  -h | --help     display this help and exit
  -v | --version  output version information and exit
`}

// maxQueryFile bounds the file that [QueryDN] reads: 16 MiB. The real program
// has no limit.
const maxQueryFile = 16 << 20

// QueryDN runs virt-pki-query-dn and returns its exit code.
func QueryDN(args []string, std dropin.IO) int {
	parsed, code, ok := queryDN.parse(args, std)
	if !ok {
		return code
	}
	if len(parsed.Operands) != 1 {
		return queryDN.wrong(std, "")
	}
	name := parsed.Operands[0]
	data, err := readFile(name, maxQueryFile)
	if err != nil {
		verb := "Error reading"
		if open := (*openError)(nil); errors.As(err, &open) {
			verb = "Failed to open"
		}
		fmt.Fprintf(std.Err, "%s: %s file “%s”: %v\n", queryDN.name, verb, name, err)
		return exitWrong
	}
	cert, why := firstCertificate(data)
	if cert == nil {
		fmt.Fprintf(std.Err, "Unable to load certificate, make sure it is in PEM format: %s\n", why)
		return exitWrong
	}
	if len(cert.Subject) == 0 {
		fmt.Fprintf(std.Err, "Failed to get distinguished name: %s\n", "The requested data were not available.")
		return exitWrong
	}
	fmt.Fprintln(std.Out, cert.Subject)
	return exitOK
}
