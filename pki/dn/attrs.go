package dn

import (
	"encoding/asn1"
	"fmt"
	"strconv"
	"strings"
)

// Object identifiers of the attributes that certtool's templates name.
var (
	CommonNameOID          = asn1.ObjectIdentifier{2, 5, 4, 3}
	SurnameOID             = asn1.ObjectIdentifier{2, 5, 4, 4}
	SerialNumberOID        = asn1.ObjectIdentifier{2, 5, 4, 5}
	CountryOID             = asn1.ObjectIdentifier{2, 5, 4, 6}
	LocalityOID            = asn1.ObjectIdentifier{2, 5, 4, 7}
	StateOID               = asn1.ObjectIdentifier{2, 5, 4, 8}
	StreetOID              = asn1.ObjectIdentifier{2, 5, 4, 9}
	OrganizationOID        = asn1.ObjectIdentifier{2, 5, 4, 10}
	OrganizationalUnitOID  = asn1.ObjectIdentifier{2, 5, 4, 11}
	TitleOID               = asn1.ObjectIdentifier{2, 5, 4, 12}
	DescriptionOID         = asn1.ObjectIdentifier{2, 5, 4, 13}
	BusinessCategoryOID    = asn1.ObjectIdentifier{2, 5, 4, 15}
	PostalCodeOID          = asn1.ObjectIdentifier{2, 5, 4, 17}
	TelephoneNumberOID     = asn1.ObjectIdentifier{2, 5, 4, 20}
	NameOID                = asn1.ObjectIdentifier{2, 5, 4, 41}
	GivenNameOID           = asn1.ObjectIdentifier{2, 5, 4, 42}
	InitialsOID            = asn1.ObjectIdentifier{2, 5, 4, 43}
	GenerationQualifierOID = asn1.ObjectIdentifier{2, 5, 4, 44}
	DNQualifierOID         = asn1.ObjectIdentifier{2, 5, 4, 46}
	PseudonymOID           = asn1.ObjectIdentifier{2, 5, 4, 65}
	UserIDOID              = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	DomainComponentOID     = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	EmailAddressOID        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// The kinds of value, besides plain tags, that GnuTLS expects of an attribute.
const (
	directoryString   = -1 // CHOICE of five string types, never empty
	challengePassword = -2 // CHOICE of PrintableString and UTF8String
)

// An attributeType says what GnuTLS knows of an attribute: the name it prints
// (none: the OID) and the type of value that it can print as text.
type attributeType struct {
	oid  asn1.ObjectIdentifier
	name string
	tag  int
}

var attributeTypes = []attributeType{
	{CountryOID, "C", tagPrintable},
	{StreetOID, "street", directoryString},
	{TitleOID, "title", directoryString},
	{OrganizationOID, "O", directoryString},
	{OrganizationalUnitOID, "OU", directoryString},
	{CommonNameOID, "CN", directoryString},
	{LocalityOID, "L", directoryString},
	{StateOID, "ST", directoryString},
	{DescriptionOID, "description", directoryString},
	{SerialNumberOID, "serialNumber", tagPrintable},
	{TelephoneNumberOID, "telephoneNumber", tagPrintable},
	{SurnameOID, "surName", directoryString},
	{InitialsOID, "initials", directoryString},
	{GenerationQualifierOID, "generationQualifier", directoryString},
	{GivenNameOID, "givenName", directoryString},
	{PseudonymOID, "pseudonym", directoryString},
	{DNQualifierOID, "dnQualifier", tagPrintable},
	{PostalCodeOID, "postalCode", directoryString},
	{NameOID, "name", directoryString},
	{BusinessCategoryOID, "businessCategory", directoryString},
	{DomainComponentOID, "DC", tagIA5},
	{UserIDOID, "UID", directoryString},
	{asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 4, 656}, "userPrincipalName", directoryString},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 1}, "jurisdictionOfIncorporationLocalityName", directoryString},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 2}, "jurisdictionOfIncorporationStateOrProvinceName", directoryString},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3}, "jurisdictionOfIncorporationCountryName", tagPrintable},
	{EmailAddressOID, "EMAIL", tagIA5},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, "XmppAddr", tagUTF8},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 9, 2}, "placeOfBirth", directoryString},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 9, 3}, "gender", tagPrintable},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 9, 4}, "countryOfCitizenship", tagPrintable},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 9, 5}, "countryOfResidence", tagPrintable},
	{asn1.ObjectIdentifier{1, 2, 643, 100, 1}, "OGRN", tagNumeric},
	{asn1.ObjectIdentifier{1, 2, 643, 100, 3}, "SNILS", tagNumeric},
	{asn1.ObjectIdentifier{1, 2, 643, 100, 5}, "OGRNIP", tagNumeric},
	{asn1.ObjectIdentifier{1, 2, 643, 3, 131, 1, 1}, "INN", tagNumeric},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}, "", tagOctet},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, "", challengePassword},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}, "", tagBMP},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}, "", tagOctet},
}

func lookupOID(oid asn1.ObjectIdentifier) *attributeType {
	for i := range attributeTypes {
		if attributeTypes[i].oid.Equal(oid) {
			return &attributeTypes[i]
		}
	}
	return nil
}

// LookupName returns the attribute type that GnuTLS knows by this name, in
// any case: "cn", "EMAIL", "serialNumber".
func LookupName(name string) (asn1.ObjectIdentifier, bool) {
	for _, t := range attributeTypes {
		// Equal lengths keep out characters that only Unicode folds to ASCII.
		if name != "" && len(t.name) == len(name) && strings.EqualFold(t.name, name) {
			return t.oid, true
		}
	}
	return nil, false
}

// ShortName returns GnuTLS's name for an attribute type, or the dotted form
// of a type that has none.
func ShortName(oid asn1.ObjectIdentifier) string {
	if t := lookupOID(oid); t != nil && t.name != "" {
		return t.name
	}
	return oid.String()
}

// ParseOID reads the dotted form of an object identifier. It refuses what
// ASN.1 cannot express (X.660: the first number is at most 2, and below 2 the
// second is at most 39) and numbers of more than 31 bits.
func ParseOID(s string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		arc, err := strconv.ParseUint(part, 10, 31)
		if err != nil || part != strconv.FormatUint(arc, 10) {
			return nil, fmt.Errorf("object identifier %.200q: found %.40q, wanted a number below 2^31", s, part)
		}
		oid = append(oid, int(arc))
	}
	// Marshal alone takes a second number that Unmarshal has no room for.
	der, err := asn1.Marshal(oid)
	if err == nil {
		_, err = asn1.Unmarshal(der, &oid)
	}
	if err != nil {
		return nil, fmt.Errorf("object identifier %.200q: wanted at least two numbers, the first 0 to 2, the second below 40 unless the first is 2", s)
	}
	return oid, nil
}
