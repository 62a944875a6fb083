package certtemplate

import "virtls/finding"

// Lint returns what is wrong with the template, or not what its author is
// likely to have meant, as a certificate made from in.
func (t *Template) Lint(in CertInput) []finding.Finding { return nil }
