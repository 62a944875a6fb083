package nbd

import "fmt"

// DefaultPort is NBD's TCP port.
const DefaultPort = 10809

// The numbers that begin messages (proto.md, "Protocol phases").
const (
	magicServer   = 0x4e42444d41474943 // "NBDMAGIC"
	magicOldStyle = 0x00420281861253
	magicOption   = 0x49484156454f5054 // "IHAVEOPT"
	magicReply    = 0x0003e889045565a9 // to an option

	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef
	magicExtRequest = 0x21e41c71
	magicExtReply   = 0x6e8a278c
)

// Handshake flags, of the server and of the client.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Sizes, in octets.
const (
	maxString  = 4096     // of names and texts (proto.md, "Values")
	maxPayload = 32 << 20 // of a read, a write and an option: QEMU's and nbdkit's
	maxOption  = maxPayload

	requestSize    = 28
	simpleSize     = 16
	structuredSize = 20
	extendedSize   = 32 // of requests and replies
)

// An Option is what a client asks for before it uses an export.
type Option uint32

// The options.
const (
	OptExportName      Option = 1
	OptAbort           Option = 2
	OptList            Option = 3
	OptStartTLS        Option = 5
	OptInfo            Option = 6
	OptGo              Option = 7
	OptStructuredReply Option = 8
	OptListMetaContext Option = 9
	OptSetMetaContext  Option = 10
	OptExtendedHeaders Option = 11
)

var optionNames = map[Option]string{
	OptExportName: "export name", OptAbort: "abort", OptList: "list", OptStartTLS: "starttls", OptInfo: "info", OptGo: "go",
	OptStructuredReply: "structured reply", OptListMetaContext: "list meta context", OptSetMetaContext: "set meta context",
	OptExtendedHeaders: "extended headers",
}

// String returns QEMU's word for the option.
func (o Option) String() string {
	if name, ok := optionNames[o]; ok {
		return name
	}
	return "<unknown>"
}

// A ReplyType is the kind of a server's answer to an option.
type ReplyType uint32

// The answers; those with the highest bit are errors.
const (
	RepAck         ReplyType = 1
	RepServer      ReplyType = 2
	RepInfo        ReplyType = 3
	RepMetaContext ReplyType = 4

	repError ReplyType = 1 << 31

	RepErrUnsupported   = repError | 1
	RepErrPolicy        = repError | 2
	RepErrInvalid       = repError | 3
	RepErrPlatform      = repError | 4
	RepErrTLSRequired   = repError | 5
	RepErrUnknown       = repError | 6
	RepErrShutdown      = repError | 7
	RepErrBlockSizeReqd = repError | 8
	RepErrTooBig        = repError | 9
	RepErrExtHeaderReqd = repError | 10
)

var replyNames = map[ReplyType]string{
	RepAck: "ack", RepServer: "server", RepInfo: "info", RepMetaContext: "meta context",
	RepErrUnsupported: "unsupported", RepErrPolicy: "denied by policy", RepErrInvalid: "invalid", RepErrPlatform: "platform lacks support",
	RepErrTLSRequired: "TLS required", RepErrUnknown: "export unknown", RepErrShutdown: "server shutting down",
	RepErrBlockSizeReqd: "block size required", RepErrTooBig: "option payload too big", RepErrExtHeaderReqd: "extended headers required",
}

// String returns QEMU's words for the answer.
func (r ReplyType) String() string {
	if name, ok := replyNames[r]; ok {
		return name
	}
	return fmt.Sprintf("<unknown 0x%x>", uint32(r))
}

// What an answer to INFO and GO tells.
const (
	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Flags tell what an export can do (proto.md, "Transmission flags").
type Flags uint16

// The flags.
const (
	HasFlags Flags = 1 << iota
	ReadOnly
	SendFlush
	SendFUA
	Rotational
	SendTrim
	SendWriteZeroes
	SendDF
	CanMultiConn
	SendResize
	SendCache
	SendFastZero
	BlockStatusPayload
)

// Has reports whether all flags of f2 are set.
func (f Flags) Has(f2 Flags) bool { return f&f2 == f2 }

// A command is what a request asks for.
type command uint16

const (
	cmdRead command = iota
	cmdWrite
	cmdDisc
	cmdFlush
	cmdTrim
	cmdCache
	cmdWriteZeroes
	cmdBlockStatus
)

// A CommandFlag changes what a request does.
type CommandFlag uint16

// The flags of requests.
const (
	FUA         CommandFlag = 1 << 0 // what was written is on stable storage before the answer
	NoHole      CommandFlag = 1 << 1 // zeroes take up space
	dontFrag    CommandFlag = 1 << 2
	reqOne      CommandFlag = 1 << 3
	FastZero    CommandFlag = 1 << 4 // fail rather than write zeroes one by one
	payloadFlag CommandFlag = 1 << 5
)

// Kinds of structured replies, and their flag.
const (
	chunkNone        = 0
	chunkData        = 1
	chunkHole        = 2
	chunkStatus      = 5
	chunkStatusExt   = 6
	chunkErrorBit    = 1 << 15
	chunkError       = chunkErrorBit | 1
	chunkErrorOffset = chunkErrorBit | 2

	chunkDone = 1
)

// baseAllocation is the metadata context that tells what is allocated.
const baseAllocation = "base:allocation"

// A mode is the shape of requests and replies.
type mode int

const (
	simple mode = iota
	structured
	extended
)

func (m mode) requestSize() int {
	if m == extended {
		return extendedSize
	}
	return requestSize
}

// replySize is the size of the header of a reply with data.
func (m mode) replySize() int { return [...]int{simpleSize, structuredSize, extendedSize}[m] }
