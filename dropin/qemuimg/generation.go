package qemuimg

// A generation is what one QEMU's qemu-img prints differently from others'.
type generation struct {
	version       string
	commandHelp   bool   // complaints about options are the C library's, and name the command
	moreHelp      string // what the help is for
	compressed    bool   // map tells what is compressed
	children      bool   // info describes the file below the format
	wideSnapshots bool   // columns of the list of snapshots
	badSize       string // what is said about a size that is none
	badOutput     string // and about a form of output
	tryAfterForm  bool   // that is followed by a hint
	badParallel   string // what is said about a number of coroutines that is none
	parallelRange string // and about one that is out of range
	detectedLine  bool   // the hint about a detected format ends its line
}

var (
	qemu72 = generation{
		version:  "7.2.22",
		moreHelp: "more information",
		badSize: "Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n" +
			"qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
		badOutput:     "--output must be used with human or json as argument.",
		badParallel:   "Invalid number of coroutines. Allowed number of coroutines is between 1 and 16",
		parallelRange: "Invalid number of coroutines. Allowed number of coroutines is between 1 and 16",
	}
	qemu100 = generation{
		version: "10.0.13", commandHelp: true, moreHelp: "more info",
		compressed: true, children: true, wideSnapshots: true,
		badSize:   "Invalid image size specified: '%s'.",
		badOutput: "--output expects 'human' or 'json' not '%s'", tryAfterForm: true, detectedLine: true,
		badParallel:   "Invalid number of coroutines specified: '%s'.",
		parallelRange: "Invalid number of coroutines specified. Must be between 1 and 16.",
	}
	qemu111 = generation{
		version: "11.1.2", commandHelp: true, moreHelp: "more information",
		compressed: true, children: true, wideSnapshots: true,
		badSize:   "Invalid image size specified: '%s'",
		badOutput: "--output expects 'human' or 'json', not '%s'", tryAfterForm: true, detectedLine: true,
		badParallel:   "Invalid number of coroutines specified: '%s'",
		parallelRange: "Invalid number of coroutines specified. Must be between 1 and 16.",
	}
)

// newest is the generation that Run imitates.
var newest = qemu111
