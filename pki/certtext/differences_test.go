package certtext_test

const lenient = "GnuTLS refuses to load it; a program that shows what is wrong with a file must be able to show it"

// differences are all the places where we do not print what some certtool
// prints. Where the versions differ among themselves we follow 3.8.13 (forky).
var differences = []difference{
	{document: "empty name", refused: "Unknown Subject Alternative name in X.509 certificate.", why: lenient},
	{document: "malformed names", refused: "ASN1 parser: Error in DER parsing.", why: lenient},
	{document: "X.400 name", refused: "ASN1 parser: Error in DER parsing.", why: lenient},
	{document: "the same extension twice", refused: "Duplicate extension in X.509 certificate.", why: lenient},

	{document: "malformed name constraints", generations: "trixie forky", why: "the reason is a general one",
		theirs: "Error in DER parsing", ours: "Error in TAG"},
	{document: "malformed name constraints", generations: "host", why: "3.7 says nothing",
		theirs: "Name Constraints (critical):\n",
		ours:   "Name Constraints (critical):\nerror: gnutls_x509_ext_import_name_constraints(): ASN1 parser: Error in TAG.\n"},
	{document: "malformed proxy", why: "the reason is a general one",
		theirs: "Element was not found", ours: "Error in TAG"},
	{document: "policy with a notice of another type", why: "pki does not decode BMPString notices, which nobody writes",
		theirs: "Note: A\n", ours: "Note: \n"},
	{document: "inhibit any policy, negative", generations: "host", why: "3.8 refuses the number",
		theirs: "\t\tInhibit anyPolicy skip certs: 255 (not critical)\n",
		ours:   "error: certificate inhibit any policy import: ASN1 parser: Generic parsing error.\n"},
	{document: "name constraints with holes", generations: "host", why: "3.7 says nothing",
		theirs: "Name Constraints (critical):\n",
		ours:   "Name Constraints (critical):\nerror: gnutls_x509_ext_import_name_constraints(): CIDR name constraint is malformed in size or structure.\n"},
	{document: "name constraints with a short address", generations: "host", why: "3.7 says nothing",
		theirs: "Name Constraints (critical):\n",
		ours:   "Name Constraints (critical):\nerror: gnutls_x509_ext_import_name_constraints(): An illegal parameter was found.\n"},
	{document: "request with an unknown attribute", generations: "trixie forky", why: "3.8 has a bug; 3.7 shows the value",
		theirs: "error: get_attribute_data: The given memory buffer is too short to hold parameters.\n",
		ours:   "\t\t\tASCII: ..abc\n\t\t\tHexdump: 0c03616263\n"},

	{document: "foreign rmd160", why: "RIPEMD-160 has no use here: its identifier must do",
		theirs: "RSA-RMD160\nwarning: signed using a broken signature algorithm that can be forged.\n", ours: "1.3.36.3.3.1.2\n"},
	{document: "foreign rmd160, hex numbers", why: "RIPEMD-160 has no use here: its identifier must do",
		theirs: "RSA-RMD160\nwarning: signed using a broken signature algorithm that can be forged.\n", ours: "1.3.36.3.3.1.2\n"},
	{document: "foreign gost", other: true, why: "GOST keys have no use here: their identifier must do"},
	{document: "foreign gost, hex numbers", other: true, why: "GOST keys have no use here: their identifier must do"},
	{document: "foreign pss384", other: true, why: "GnuTLS encodes the key anew before it hashes it for the key identifiers"},
	{document: "foreign pss384, hex numbers", other: true, why: "GnuTLS encodes the key anew before it hashes it for the key identifiers"},
}
