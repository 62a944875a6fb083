package fleet

import (
	"fmt"
	"slices"
	"strings"

	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
)

// An Identity is a certificate with its key that a holder is to have.
type Identity struct {
	Slot   string // tells the identities of a holder apart, such as "qemu/both" or "libvirt/server+ml-dsa"
	PQC    bool   // ML-DSA key, issued by the ML-DSA authority
	Key    pki.KeySpec
	Roles  []layout.Role
	Places []Place
}

// A Place is where an identity's files are saved.
type Place struct {
	Location  layout.Location
	Role      layout.Role
	Cert, Key layout.Entry
}

// A Holder is a host or client with everything it is to have.
type Holder struct {
	Kind       string // "host" or "client"
	Name       string
	Subject    dn.Name
	Names      pki.GeneralNames // subject alternative names; none for a client
	Days       int
	PQC        bool // its TLS library can load ML-DSA
	Platform   layout.Platform
	Identities []Identity
	Locations  []layout.Location // each gets the CA bundle and the revocation lists

	host   *Host
	client *Client
}

// ID names the holder in the register, such as "host:kvm1.example.com".
func (h *Holder) ID() string { return h.Kind + ":" + h.Name }

// Dir is the holder's directory below the state directory.
func (h *Holder) Dir() string { return h.Kind + "s/" + h.Name }

// mldsaLevel is the parameter set of the ML-DSA keys: category 3, which
// QEMU's and libvirt's documentation use.
var mldsaLevel = pki.KeySpec{Algorithm: pki.MLDSA65}

// holderOfHost works out what a host needs.
func (f *File) holderOfHost(h *Host) (*Holder, error) {
	platform, err := h.platform()
	if err != nil {
		return nil, err
	}
	names, err := h.altNames()
	if err != nil {
		return nil, err
	}
	key, err := pki.ParseKeySpec(h.Key)
	if err != nil {
		return nil, err
	}
	holder := &Holder{
		Kind: "host", Name: h.Name, Subject: h.Subject.name(h.Name), Names: names, Days: h.Days,
		PQC: platform.MLDSA && f.PQC != PQCOff, Platform: platform, host: h,
	}
	for _, use := range h.Uses {
		loc := layout.System(use.Service, use.Dir)
		holder.Locations = append(holder.Locations, loc)
		holder.addUse(f.PQC, loc, use, key, platform.ParallelIdentities(use.Service))
	}
	return holder, nil
}

// holderOfClient works out what a person or program needs.
func (f *File) holderOfClient(c *Client) (*Holder, error) {
	key, err := pki.ParseKeySpec(c.Key)
	if err != nil {
		return nil, err
	}
	mldsa := c.MLDSA != nil && *c.MLDSA
	holder := &Holder{
		Kind: "client", Name: c.Name, Subject: c.Subject.name(c.Name), Days: c.Days,
		PQC: mldsa && f.PQC != PQCOff, Platform: layout.Platform{MLDSA: mldsa}, client: c,
	}
	for _, service := range c.Uses {
		loc := layout.Home(service, "")
		if c.System {
			loc = layout.System(service, "")
		}
		holder.Locations = append(holder.Locations, loc)
		// All services share one certificate: they are read by the same person.
		use := Use{Service: service, Roles: []layout.Role{layout.Client}}
		holder.addUse(f.PQC, loc, use, key, mldsa)
	}
	if !c.System {
		holder.shareAmongLocations()
	}
	return holder, nil
}

// addUse adds the identities of one service. Where the consumer reads parallel
// identities, the ML-DSA one has the plain name and is preferred, and the
// classical one has index 0.
func (h *Holder) addUse(pqc PQC, loc layout.Location, use Use, key pki.KeySpec, parallel bool) {
	groups := [][]layout.Role{use.Roles}
	if !use.Shared {
		groups = nil
		for _, r := range use.Roles {
			groups = append(groups, []layout.Role{r})
		}
	}
	for _, roles := range groups {
		slot := string(use.Service) + "/" + roleName(roles)
		index := layout.NoIndex
		if h.PQC && (parallel || pqc == PQCExclusive) {
			h.add(Identity{Slot: slot + "+ml-dsa", PQC: true, Key: mldsaLevel, Roles: roles}, loc, index)
			index = 0
		}
		if pqc != PQCExclusive {
			h.add(Identity{Slot: slot, Key: key, Roles: roles}, loc, index)
		}
	}
}

func (h *Holder) add(id Identity, loc layout.Location, index int) {
	for _, r := range id.Roles {
		id.Places = append(id.Places, Place{
			Location: loc, Role: r,
			Cert: loc.File(loc.Cert(r, index)), Key: loc.Secret(loc.Key(r, index)),
		})
	}
	h.Identities = append(h.Identities, id)
}

// shareAmongLocations merges the identities of a person's services that differ
// in nothing but their place.
func (h *Holder) shareAmongLocations() {
	var merged []Identity
	for _, id := range h.Identities {
		_, tail, _ := strings.Cut(id.Slot, "/")
		id.Slot = tail
		i := slices.IndexFunc(merged, func(m Identity) bool { return m.Slot == id.Slot })
		if i < 0 {
			merged = append(merged, id)
			continue
		}
		merged[i].Places = append(merged[i].Places, id.Places...)
	}
	h.Identities = merged
}

func roleName(roles []layout.Role) string {
	if len(roles) == 2 {
		return "both"
	}
	return roles[0].String()
}

// name returns the subject in the order that certtool writes and access lists
// of QEMU and libvirt therefore show: C, ST, L, O, OU, CN.
func (s Subject) name(cn string) dn.Name {
	var attrs []dn.Attribute
	for _, a := range []struct {
		oid  []int
		text string
	}{
		{dn.CountryOID, s.Country}, {dn.StateOID, s.State}, {dn.LocalityOID, s.Locality},
		{dn.OrganizationOID, s.Organization}, {dn.OrganizationalUnitOID, s.Unit}, {dn.CommonNameOID, cn},
	} {
		if a.text != "" {
			attrs = append(attrs, dn.Attr(a.oid, a.text))
		}
	}
	return dn.New(attrs...)
}

// Holders yields every host and client of the file, hosts first, in the order
// of the file. They are made one by one, so that memory does not grow with the fleet.
func (f *File) Holders(yield func(*Holder, error) bool) {
	for i := range f.Hosts {
		h, err := f.holderOfHost(&f.Hosts[i])
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Hosts[i].Name, err)
		}
		if !yield(h, err) {
			return
		}
	}
	for i := range f.Clients {
		h, err := f.holderOfClient(&f.Clients[i])
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Clients[i].Name, err)
		}
		if !yield(h, err) {
			return
		}
	}
}
