package priority

import (
	"errors"
	"io/fs"
	"os"

	"virtls/finding"
	"virtls/internal/readfile"
)

const maxConfig = 1 << 20 // octets of a configuration file; GnuTLS knows no bound

var kindConfigUnreadable = finding.Define("priority-config-unreadable", finding.Warning,
	"the system's configuration of GnuTLS cannot be read, and GnuTLS goes on without it",
	"make the file readable, or remove it")

// ReadSystem reads a system's configuration file with a function such as
// [os.ReadFile]. A file that is missing says nothing; one that cannot be read
// neither, and is a finding.
func ReadSystem(read func(name string) ([]byte, error), file string) (SystemConfig, []finding.Finding) {
	data, err := read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return SystemConfig{file: file}, nil
	case err != nil:
		return SystemConfig{file: file}, []finding.Finding{kindConfigUnreadable.Found(file, err.Error()).WithWant("a readable file", "GnuTLS")}
	}
	return ParseSystem(data, file)
}

// System reads the configuration that GnuTLS would read in this process, from
// [SystemFile] or the file that GNUTLS_SYSTEM_PRIORITY_FILE names.
func System() (SystemConfig, []finding.Finding) {
	file := SystemFile
	if named, ok := os.LookupEnv("GNUTLS_SYSTEM_PRIORITY_FILE"); ok {
		file = named
	}
	return ReadSystem(readConfig, file)
}

func readConfig(name string) ([]byte, error) { return readfile.File(name, maxConfig) }
