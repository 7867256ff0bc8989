package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func fileOf(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func picture() gateway.Asset {
	return gateway.Asset{Account: account, Kinds: []kefu.MediaKind{kefu.MediaImage}, Format: "png", Width: 640, Height: 320}
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func put(t testing.TB, s *Store, a gateway.Asset, file []byte) gateway.Asset {
	t.Helper()
	u := s.NewUpload(t.Context(), at(noon))
	_, err := u.Write(file)
	ok(t, err)
	kept, err := u.Keep(a, ByHand, 0)
	ok(t, err)
	return kept
}

func count(t testing.TB, s *Store, table string) (n int) {
	t.Helper()
	ok(t, s.row(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

// An asset has the bytes that were written, whatever their number, also after the
// database was closed; they can be read from anywhere.
func assetsAreWhole(t *testing.T, open func() *Store) {
	s := open()
	files := map[string][]byte{}
	for _, size := range []int{1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2*ChunkSize + 7} {
		file := fileOf(size)
		a := put(t, s, picture(), file)
		files[a.ID] = file
		sum := sha256.Sum256(file)
		if a.ID != gateway.AssetID(sum) || a.Bytes != int64(size) || a.Width != 640 || !a.CreatedAt.Equal(noon) {
			t.Errorf("%d bytes: %+v", size, a)
		}
	}
	ok(t, s.Close())
	s = open()
	for id, file := range files {
		hash, _ := gateway.ParseAssetID(id)
		r, err := s.OpenAsset(t.Context(), account, hash)
		ok(t, err)
		ok(t, iotest.TestReader(r, file))
		a, err := s.AssetOf(t.Context(), []string{account}, hash)
		ok(t, err)
		same(t, a.Kinds, []kefu.MediaKind{kefu.MediaImage})
		_, err = s.AssetOf(t.Context(), []string{"wxother"}, hash)
		wants(t, err, ErrNotFound)
		_, err = s.Asset(t.Context(), "wxother", hash)
		wants(t, err, ErrNotFound)
	}
}

// Wherever a file's way in is cut, there is no asset and no byte of it in the end.
func noHalfAsset(t *testing.T, open func() *Store) {
	s := open()
	for range 20 {
		file := fileOf(rand.IntN(3 * ChunkSize))
		cut := rand.IntN(len(file) + 1)
		ctx, cancel := context.WithCancel(t.Context())
		u := s.NewUpload(ctx, at(noon))
		_, err := u.Write(file[:cut])
		ok(t, err)
		switch rand.IntN(4) {
		case 0: // the process dies
			ok(t, s.Close())
			s = open()
		case 1: // the sender hangs up
			cancel()
			if _, err := u.Keep(picture(), ByHand, 0); err == nil {
				t.Error("kept for a sender who has gone")
			}
		case 2:
			u.Drop()
		case 3: // it is looked at, and found unfit
			_, err := u.Bytes()
			ok(t, err)
			u.Drop()
		}
		cancel()
		_, err = s.Asset(t.Context(), account, sha256.Sum256(file[:cut]))
		wants(t, err, ErrNotFound)
		_, err = s.Asset(t.Context(), account, sha256.Sum256(file))
		wants(t, err, ErrNotFound)
	}
	if n := count(t, s, "assets"); n != 0 {
		t.Errorf("%d assets", n)
	}
	whole := put(t, s, picture(), fileOf(2*ChunkSize)) // is not swept
	for {
		n, err := s.SweepContents(t.Context(), noon.Add(contentLife))
		ok(t, err)
		if n > 0 {
			t.Errorf("%d swept before an hour was over", n)
		}
		if n, err = s.SweepContents(t.Context(), noon.Add(contentLife+time.Millisecond)); n == 0 {
			ok(t, err)
			break
		}
	}
	if n := count(t, s, "chunks"); n != 2 {
		t.Errorf("%d chunks, want the two of the asset", n)
	}
	if n := count(t, s, "unfinished_contents"); n != 0 {
		t.Errorf("%d files are unfinished", n)
	}
	hash, _ := gateway.ParseAssetID(whole.ID)
	r, err := s.OpenAsset(t.Context(), account, hash)
	ok(t, err)
	_, err = io.Copy(io.Discard, r)
	ok(t, err)
}

// While a file is on its way nobody sees it as an asset, up to its last commit.
func assetRowComesLast(t *testing.T, open func() *Store) {
	s := open()
	file := fileOf(3 * ChunkSize)
	u := s.NewUpload(t.Context(), at(noon))
	for i := range 3 {
		_, err := u.Write(file[i*ChunkSize : (i+1)*ChunkSize])
		ok(t, err)
		if n := count(t, s, "chunks"); n != i+1 {
			t.Errorf("%d chunks on disk after %d were written", n, i+1)
		}
		if n := count(t, s, "assets"); n != 0 {
			t.Errorf("an asset before the last chunk")
		}
	}
	_, err := s.SweepContents(t.Context(), noon.Add(2*time.Hour)) // it took too long
	ok(t, err)
	if _, err := u.Keep(picture(), ByHand, 0); err == nil {
		t.Error("kept without its bytes")
	}
	if n := count(t, s, "assets"); n != 0 {
		t.Errorf("an asset without its bytes")
	}
}

func theSameBytesAreTheSameAsset(t *testing.T, open func() *Store) {
	s := open()
	file := fileOf(ChunkSize + 1)
	first := put(t, s, picture(), file)
	other := picture()
	other.Format = "jpg" // whoever comes later changes nothing
	same(t, put(t, s, other, file), first)
	if n := count(t, s, "chunks"); n != 2 {
		t.Errorf("%d chunks", n)
	}
	other.Account = "wxother"
	if a := put(t, s, other, file); a.ID != first.ID || a.Account != "wxother" {
		t.Errorf("of another account: %+v", a)
	}
	if n := count(t, s, "assets"); n != 2 {
		t.Errorf("%d assets", n)
	}
}

func roomForAssetsIsCounted(t *testing.T, open func() *Store) {
	s := open()
	keep := func(appid string, file []byte, most int64) error {
		u := s.NewUpload(t.Context(), at(noon))
		_, err := u.Write(file)
		ok(t, err)
		a := picture()
		a.Account = appid
		if _, err = u.Keep(a, ByHand, most); err != nil {
			u.Drop()
		}
		return err
	}
	first := fileOf(60)
	ok(t, keep(account, first, 100))
	wants(t, keep(account, fileOf(41), 100), ErrNoRoom)
	ok(t, keep(account, first, 100)) // it is there
	ok(t, keep("wxother", fileOf(100), 100))
	ok(t, keep(account, fileOf(40), 100))
	wants(t, keep(account, fileOf(1), 100), ErrNoRoom)
	if n := count(t, s, "chunks"); n != 3 {
		t.Errorf("%d chunks: what found no room stays", n)
	}
}

func mediaIDsAreRemembered(t *testing.T, open func() *Store) {
	s := open()
	hash := keepFile(t, s, ByHand, noon, "a")
	_, err := s.MediaOf(t.Context(), account, hash, kefu.MediaImage)
	wants(t, err, ErrNotFound)
	for i, id := range []string{"first", "second"} {
		ok(t, s.PutMedia(t.Context(), noon, MediaID{Account: account, ID: id, Hash: hash, Kind: kefu.MediaImage, At: noon.Add(time.Duration(i) * time.Hour)}))
	}
	m, err := s.MediaOf(t.Context(), account, hash, kefu.MediaImage)
	ok(t, err)
	same(t, m, MediaID{account, "second", hash, kefu.MediaImage, noon.Add(time.Hour), false})
	_, err = s.MediaOf(t.Context(), account, hash, kefu.MediaThumb)
	wants(t, err, ErrNotFound)
	ok(t, s.BuryMedia(t.Context(), noon, account, "second", "nobody's"))
	m, err = s.MediaOf(t.Context(), account, hash, kefu.MediaImage)
	ok(t, err)
	same(t, m.ID, "first")
	m, err = s.Media(t.Context(), account, "second") // still known by its id
	ok(t, err)
	same(t, m.Dead, true)
	_, err = s.Media(t.Context(), "wxother", "first")
	wants(t, err, ErrNotFound)

	ok(t, s.PutMedia(t.Context(), noon, MediaID{Account: account, ID: "http://a/", Hash: hash, Kind: gateway.AsURL, At: noon}))
	ok(t, s.PutFetched(t.Context(), noon, account, "http://a/", hash))
	n, err := s.PruneMedia(t.Context(), noon.Add(mediaLife))
	ok(t, err)
	same(t, n, 0)
	n, err = s.PruneMedia(t.Context(), noon.Add(mediaLife+time.Minute))
	ok(t, err)
	same(t, n, 2) // the first id, and the fetch; the second is younger
	_, err = s.Media(t.Context(), account, "http://a/")
	ok(t, err)
}

// Whoever asks again for what a URL led to gets the same, also if somebody else has
// fetched it since.
func aFetchedURLStaysTheSame(t *testing.T, open func() *Store) {
	s := open()
	const url = "https://example.com/a.png"
	one, two := keepFile(t, s, FromURL, noon, "1"), keepFile(t, s, FromURL, noon, "2")
	_, err := s.Fetched(t.Context(), account, url, noon)
	wants(t, err, ErrNotFound)
	ok(t, s.PutFetched(t.Context(), noon, account, url, one))
	ok(t, s.PutFetched(t.Context(), noon.Add(time.Hour), account, url, two))
	for _, tt := range []struct {
		since time.Duration
		want  [32]byte
	}{{-time.Hour, one}, {0, one}, {time.Millisecond, two}, {time.Hour, two}} {
		got, err := s.Fetched(t.Context(), account, url, noon.Add(tt.since))
		ok(t, err)
		same(t, got, tt.want)
	}
	_, err = s.Fetched(t.Context(), account, url, noon.Add(time.Hour+time.Millisecond))
	wants(t, err, ErrNotFound)
	_, err = s.Fetched(t.Context(), "wxother", url, noon)
	wants(t, err, ErrNotFound)
	ok(t, s.DeleteAsset(t.Context(), noon, account, one))
	ok(t, s.PutFetched(t.Context(), noon, account, url, one)) // its fetch was under way
	got, err := s.Fetched(t.Context(), account, url, noon)
	ok(t, err)
	same(t, got, two)
}

// What a follower sends is noted with their message, or not at all; it is due until
// it has an end, and then the timeline shows it.
func inboundMediaComeWithTheirMessage(t *testing.T, open func() *Store) {
	s := open()
	push := Callback{
		Entry:     Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{"msgtype":"video"}`)},
		DedupeKey: "k", Media: []InboundMedia{{MediaID: "v", Kind: kefu.MediaVideo}, {MediaID: "t", Kind: kefu.MediaThumb}},
	}
	for range 2 { // WeChat posts it again
		_, err := s.Receive(t.Context(), noon, push)
		ok(t, err)
	}
	failing := push
	failing.DedupeKey = "k2"
	failing.Ledger = func(json.RawMessage) (json.RawMessage, error) { return nil, io.ErrUnexpectedEOF }
	if _, err := s.Receive(t.Context(), noon, failing); err == nil {
		t.Fatal("kept")
	}
	ok(t, s.Close())
	s = open()
	due, err := s.DueInbound(t.Context(), noon, 10)
	ok(t, err)
	if len(due) != 2 || due[0].MediaID != "v" || due[1].Kind != kefu.MediaThumb || due[0].OpenID != follower || !due[0].At.Equal(noon) {
		t.Fatalf("due: %+v", due)
	}
	ok(t, s.RetryInbound(t.Context(), noon, due[1], noon.Add(time.Hour), "busy"))
	again, err := s.DueInbound(t.Context(), noon.Add(time.Hour-time.Millisecond), 10)
	ok(t, err)
	same(t, len(again), 1)
	again, err = s.DueInbound(t.Context(), noon.Add(time.Hour), 10)
	ok(t, err)
	if len(again) != 2 || again[1].Tries != 1 {
		t.Fatalf("due again: %+v", again)
	}
	hash := keepFile(t, s, FromFollower, noon, "bytes")
	news := Entry{Account: account, OpenID: follower, Type: "follower.media", Data: json.RawMessage(`{}`)}
	for range 2 { // the second time it is over
		ok(t, s.EndInbound(t.Context(), noon, due[0], &hash, "", news))
	}
	ok(t, s.EndInbound(t.Context(), noon, due[1], nil, "gone", news))
	again, err = s.DueInbound(t.Context(), noon.Add(time.Hour), 10)
	ok(t, err)
	same(t, len(again), 0)
	m, err := s.Media(t.Context(), account, "v")
	ok(t, err)
	same(t, m.Hash, hash)
	page, err := s.Timeline(t.Context(), account, follower, "", 10)
	ok(t, err)
	if len(page.Items) != 1 || page.Items[0].Asset != gateway.AssetID(hash) || page.Items[0].Thumb != "" {
		t.Errorf("timeline: %+v", page.Items)
	}
	entries, _, err := s.Feed(t.Context(), "", 10, nil)
	ok(t, err)
	if len(entries) != 3 || entries[1].Type != "follower.media" {
		t.Errorf("feed: %+v", entries)
	}
}

// A file goes with the follower's message that brought it, unless somebody else has
// brought it too.
func followersFilesGoWithTheirMessages(t *testing.T, open func() *Store) {
	s := open()
	for _, tt := range []struct {
		name  string
		also  string // who has brought it besides
		stays bool
	}{{"nobody else", "", false}, {"a sender", "sender", true}, {"another follower", "follower", true}, {"uploaded by us", "upload", true}} {
		file := []byte(tt.name)
		u := s.NewUpload(t.Context(), at(noon))
		_, err := u.Write(file)
		ok(t, err)
		a, err := u.Keep(picture(), FromFollower, 0)
		ok(t, err)
		hash, _ := gateway.ParseAssetID(a.ID)
		senders := []string{"o " + tt.name}
		if tt.also == "follower" {
			senders = append(senders, "o2")
		}
		for _, openid := range senders {
			_, err := s.Receive(t.Context(), noon, Callback{
				Entry: Entry{Account: account, OpenID: openid, Type: "follower.message", Data: json.RawMessage(`{}`)},
				Media: []InboundMedia{{MediaID: "m " + openid, Kind: kefu.MediaImage}},
			})
			ok(t, err)
			due, err := s.DueInbound(t.Context(), noon, 10)
			ok(t, err)
			ok(t, s.EndInbound(t.Context(), noon, due[0], &hash, "", Entry{Account: account, OpenID: openid, Type: "follower.media"}))
		}
		switch tt.also {
		case "sender":
			put(t, s, picture(), file)
		case "upload":
			ok(t, s.PutMedia(t.Context(), noon, MediaID{Account: account, ID: "ours", Hash: hash, Kind: kefu.MediaImage, At: noon}))
		}
		_, err = s.Erase(t.Context(), noon, account, senders[0])
		ok(t, err)
		if _, err = s.Asset(t.Context(), account, hash); (err == nil) != tt.stays {
			t.Errorf("%s: %v, want it to stay: %v", tt.name, err, tt.stays)
		}
		if _, err := s.Media(t.Context(), account, "m "+senders[0]); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: the follower's media id is still known: %v", tt.name, err)
		}
	}
}

// An asset that is deleted is gone with its bytes, ids and fetches, and its room is free;
// whoever still has to post it is known before. Another account's stays.
func aDeletedAssetIsGone(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	file := fileOf(ChunkSize + 5)
	a := put(t, s, picture(), file)
	theirs := picture()
	theirs.Account = "wxother"
	put(t, s, theirs, file)
	hash, _ := gateway.ParseAssetID(a.ID)
	ok(t, s.PutMedia(ctx, noon, MediaID{Account: account, ID: "MEDIA", Hash: hash, Kind: kefu.MediaImage, At: noon}))

	naming := func(openid string, state gateway.State) Message {
		d := hello(openid)
		d.State, d.MsgType = state, "image"
		d.Message.Message = json.RawMessage(`{"touser":"` + openid + `","msgtype":"image","image":{"media_id":"` + a.ID + `"}}`)
		return enqueue1(t, s, d)
	}
	needed := func() []string {
		t.Helper()
		ids, err := s.NeedAsset(ctx, account, hash)
		ok(t, err)
		return ids
	}
	enqueue1(t, s, hello("oNoPicture"))
	same(t, len(needed()), 0)
	queued, parked := naming("oQueued", gateway.Queued), naming("oParked", gateway.Parked)
	same(t, needed(), []string{queued.ID, parked.ID})
	for _, m := range []Message{queued, parked} {
		ok(t, s.Move(ctx, noon, Move{Seq: m.Seq, From: m.State, To: gateway.Canceled}))
	}
	same(t, len(needed()), 0)
	for i := range 12 {
		naming("oMany"+string(rune('a'+i)), gateway.Queued)
	}
	same(t, len(needed()), mostNeeding)

	ok(t, s.DeleteAsset(ctx, noon, account, hash))
	wants(t, s.DeleteAsset(ctx, noon, account, hash), ErrNotFound)
	s.Close()
	s = open()
	_, err := s.Asset(ctx, account, hash)
	wants(t, err, ErrNotFound)
	_, err = s.Media(ctx, account, "MEDIA")
	wants(t, err, ErrNotFound)
	if n := count(t, s, "chunks"); n != 2 {
		t.Errorf("%d chunks, want the two of the other account", n)
	}
	r, err := s.OpenAsset(ctx, "wxother", hash)
	ok(t, err)
	ok(t, iotest.TestReader(r, file))
	u := s.NewUpload(ctx, at(noon)) // its room is free
	_, err = u.Write(file)
	ok(t, err)
	_, err = u.Keep(picture(), ByHand, int64(len(file)))
	ok(t, err)
}

// keepFile makes an asset of a file at some time.
func keepFile(t testing.TB, s *Store, from Origin, when time.Time, text string) (hash [32]byte) {
	t.Helper()
	u := s.NewUpload(t.Context(), at(when))
	_, err := u.Write([]byte(text))
	ok(t, err)
	_, err = u.Keep(picture(), from, 0)
	ok(t, err)
	return sha256.Sum256([]byte(text))
}

// sendFile has a follower send a file under the media id.
func sendFile(t testing.TB, s *Store, when time.Time, openid, id string) InboundMedia {
	t.Helper()
	_, err := s.Receive(t.Context(), when, Callback{
		Entry: Entry{Account: account, OpenID: openid, Type: "follower.message", Data: json.RawMessage(`{}`)},
		Media: []InboundMedia{{MediaID: id, Kind: kefu.MediaImage}},
	})
	ok(t, err)
	due, err := s.DueInbound(t.Context(), when, 100)
	ok(t, err)
	for _, m := range due {
		if m.MediaID == id {
			return m
		}
	}
	t.Fatalf("%s is not due: %+v", id, due)
	return InboundMedia{}
}

func isThere(t testing.TB, s *Store, hash [32]byte) bool {
	t.Helper()
	_, err := s.Asset(t.Context(), account, hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// waitsWith enqueues a message to somebody that names a file.
func waitsWith(t testing.TB, s *Store, hash [32]byte) Message {
	t.Helper()
	return enqueue1(t, s, hello("oReader").with(func(d *Draft) {
		d.MsgType = "image"
		d.Message.Message = json.RawMessage(`{"touser":"oReader","msgtype":"image","image":{"media_id":"` + gateway.AssetID(hash) + `"}}`)
	}))
}

// A file that is on its way from WeChat while its follower is erased does not stay; one
// that went meanwhile with another follower is fetched again.
func filesOnTheirWayAreErasedToo(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	end := func(m InboundMedia, hash [32]byte) {
		t.Helper()
		ok(t, s.EndInbound(ctx, noon, m, &hash, "", Entry{Account: account, OpenID: m.OpenID, Type: "follower.media"}))
	}
	m := sendFile(t, s, noon, follower, "m1")
	_, err := s.Erase(ctx, noon, account, follower)
	ok(t, err)
	end(m, keepFile(t, s, FromFollower, noon, "late"))
	for _, table := range []string{"assets", "chunks", "media_ids", "inbound_media", "feed"} {
		if n := count(t, s, table); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}

	first, second := sendFile(t, s, noon, follower, "m2"), sendFile(t, s, noon, "oOther", "m3")
	shared := keepFile(t, s, FromFollower, noon, "shared")
	end(first, shared)
	same(t, keepFile(t, s, FromFollower, noon, "shared"), shared) // the other's is here, and not noted yet
	_, err = s.Erase(ctx, noon, account, follower)
	ok(t, err)
	same(t, isThere(t, s, shared), false)
	end(second, shared)
	due, err := s.DueInbound(ctx, noon, 10)
	ok(t, err)
	if len(due) != 1 || due[0].MediaID != "m3" {
		t.Fatalf("due %+v, want the other's file", due)
	}
	keepFile(t, s, FromFollower, noon, "shared")
	end(second, shared)
	same(t, isThere(t, s, shared), true)
	for _, q := range []string{"m1", "m2"} {
		_, err = s.Media(ctx, account, q)
		wants(t, err, ErrNotFound)
	}
}

// Each file goes with the last that holds it.
func filesGoWithTheLastThatHoldsThem(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	r := Retention{Age: 100 * day}
	end := func(m InboundMedia, hash [32]byte) {
		ok(t, s.EndInbound(ctx, noon, m, &hash, "", Entry{Account: account, OpenID: m.OpenID, Type: "follower.media"}))
	}
	lost := keepFile(t, s, FromFollower, noon, "of a process that died") // and its follower was erased
	sentOn, named := keepFile(t, s, FromFollower, noon, "sent on"), keepFile(t, s, FromFollower, noon, "named")
	end(sendFile(t, s, noon, follower, "m1"), sentOn)
	ok(t, s.PutMedia(ctx, noon, MediaID{Account: account, ID: "ours", Hash: sentOn, Kind: kefu.MediaImage, At: noon}))
	ok(t, s.PutMedia(ctx, noon, MediaID{Account: account, ID: "http://mmbiz/", Hash: named, Kind: gateway.AsURL, At: noon})) // has no end, and needs no file
	end(sendFile(t, s, noon, follower, "m2"), named)
	waiting := waitsWith(t, s, named)
	byHand := keepFile(t, s, ByHand, noon, "by hand")
	fetched, again, also := keepFile(t, s, FromURL, noon, "fetched"), keepFile(t, s, FromURL, noon, "fetched again"), keepFile(t, s, FromURL, noon, "and by hand")
	keepFile(t, s, ByHand, noon, "and by hand")
	keepFile(t, s, FromURL, noon, "and by hand")
	for _, hash := range [][32]byte{fetched, again} {
		ok(t, s.PutFetched(ctx, noon, account, string(hash[:]), hash))
	}
	ok(t, s.PutFetched(ctx, noon.Add(day), account, "https://example.com/again", again))
	there := func() (all []bool) {
		for _, hash := range [][32]byte{lost, sentOn, named, byHand, fetched, again, also} {
			all = append(all, isThere(t, s, hash))
		}
		return all
	}
	same(t, there(), []bool{true, true, true, true, true, true, true})
	prune(t, s, noon.Add(100*day-time.Millisecond), r)
	same(t, there(), []bool{false, true, true, true, true, true, true})
	_, err := s.PruneMedia(ctx, noon.Add(100*day)) // ours
	ok(t, err)
	prune(t, s, noon.Add(100*day), r)
	same(t, there(), []bool{false, false, true, true, false, true, true})
	ok(t, s.Move(ctx, noon.Add(100*day), Move{Seq: waiting.Seq, From: gateway.Queued, To: gateway.Canceled}))
	prune(t, s, noon.Add(101*day), r)
	same(t, there(), []bool{false, false, false, true, false, false, true})
	prune(t, s, noon.Add(9999*day), r)
	same(t, there(), []bool{false, false, false, true, false, false, true})
	same(t, []int{count(t, s, "chunks"), count(t, s, "fetched_urls"), count(t, s, "media_ids")}, []int{2, 0, 0})
	total, err := s.AssetTotals(ctx)
	ok(t, err)
	same(t, total[account], int64(len("by hand")+len("and by hand")))
}

// An erased follower's file that a message to somebody else names waits for that one.
func namedFilesWaitForTheirMessage(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	hash := keepFile(t, s, FromFollower, noon, "photo")
	ok(t, s.EndInbound(ctx, noon, sendFile(t, s, noon, follower, "m1"), &hash, "", Entry{Account: account, OpenID: follower, Type: "follower.media"}))
	waiting := waitsWith(t, s, hash)
	_, err := s.Erase(ctx, noon, account, follower)
	ok(t, err)
	same(t, isThere(t, s, hash), true)
	same(t, count(t, s, "inbound_media"), 0)
	prune(t, s, noon.Add(time.Hour), Retention{})
	same(t, isThere(t, s, hash), true)
	ok(t, s.Move(ctx, noon, Move{Seq: waiting.Seq, From: gateway.Queued, To: gateway.Canceled}))
	prune(t, s, noon.Add(time.Hour), Retention{})
	same(t, isThere(t, s, hash), false)
}

// Where room is short, what URLs led to goes, what was not used for longest first, but
// nothing that was used within the hour and nothing that a message names.
func urlsMakeRoom(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	text := func(c string) string { return strings.Repeat(c, 10) }
	byHand := keepFile(t, s, ByHand, noon, text("a"))
	var fetched [][32]byte
	for i, c := range []string{"b", "c", "d", "e"} {
		fetched = append(fetched, keepFile(t, s, FromURL, noon.Add(time.Duration(i)*time.Minute), text(c)))
	}
	ok(t, s.PutMedia(ctx, noon, MediaID{Account: account, ID: "m", Hash: fetched[0], Kind: kefu.MediaImage, At: noon.Add(time.Hour)})) // used since
	waitsWith(t, s, fetched[1])
	there := func() (all []bool) {
		for _, hash := range fetched {
			all = append(all, isThere(t, s, hash))
		}
		return all
	}
	soon := noon.Add(time.Hour + 3*time.Minute)
	ok(t, s.MakeRoom(ctx, soon, account, 50))
	same(t, there(), []bool{true, true, true, true})
	ok(t, s.MakeRoom(ctx, soon, account, 41))
	same(t, there(), []bool{true, true, false, true})
	ok(t, s.MakeRoom(ctx, soon, "wxother", 0))
	ok(t, s.MakeRoom(ctx, soon, account, 0))
	same(t, there(), []bool{true, true, false, false})
	same(t, isThere(t, s, byHand), true)
}

// Assets are listed once each, the latest first, to those who may see them.
func assetsAreListed(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	var want []string
	for i := range 5 {
		a := picture()
		if i == 2 {
			a.Account = "wxother"
		}
		u := s.NewUpload(ctx, at(noon.Add(time.Duration(i/2)*time.Second))) // some at the same time
		_, err := u.Write(fileOf(10))
		ok(t, err)
		a, err = u.Keep(a, Origin(i%3), 0)
		ok(t, err)
		want = append(want, a.ID)
	}
	list := func(accounts []string) (ids []string) {
		last := noon.Add(time.Hour)
		for cursor := ""; ; {
			page, err := s.Assets(ctx, accounts, cursor, 2)
			ok(t, err)
			for _, a := range page.Items {
				if a.CreatedAt.After(last) {
					t.Errorf("%s of %v comes after one of %v", a.ID, a.CreatedAt, last)
				}
				ids, last = append(ids, a.ID), a.CreatedAt.Time
			}
			if cursor = page.Next; cursor == "" {
				return ids
			}
		}
	}
	all := list(nil)
	same(t, all[0], want[4])
	slices.Sort(all)
	slices.Sort(want)
	same(t, all, want)
	same(t, len(list([]string{account})), 4)
	same(t, len(list([]string{"wxother"})), 1)
	_, err := s.Assets(ctx, nil, "x", 2)
	wants(t, err, ErrCursor)
}
