//go:build unix

package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/pgtest"
)

// Each caller waits for its fsync before it comes again. Messages have 400 bytes.
func benchmark(b *testing.B, followers, producers int, way func(s *Store, d Draft)) {
	s := open(b, benchDSN(b), Options{SecretKey: secretKey})
	content := json.RawMessage(`{"touser":"o","msgtype":"text","text":{"content":"` + strings.Repeat("x", 340) + `"}}`)
	drafts := make([]Draft, followers)
	for i := range drafts {
		drafts[i] = hello(fmt.Sprintf("oABCDEFGHIJKLMNOP%011d", i*7919))
		drafts[i].Message.Message = content
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for range producers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				way(s, drafts[n*7919%int64(followers)])
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/message")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// benchDSN is a new database: SQLite, or PostgreSQL with KEFU_BENCH=postgres.
func benchDSN(b *testing.B) string {
	if os.Getenv("KEFU_BENCH") == "postgres" {
		return pgtest.Shared(b).DSN(b)
	}
	return filepath.Join(b.TempDir(), "kefu.db")
}

// cpu is what this process has used, in user and kernel.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkEnqueue(b *testing.B) {
	for _, followers := range []int{100, 100_000} {
		for _, producers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("followers=%d/producers=%d", followers, producers), func(b *testing.B) {
				benchmark(b, followers, producers, func(s *Store, d Draft) {
					if k := s.Enqueue(context.Background(), noon, d); k[0].Err != nil {
						b.Error(k[0].Err)
					}
				})
			})
		}
	}
}

// The whole way of a message through the store, with the follower's ledger.
func BenchmarkDelivery(b *testing.B) {
	ledger := json.RawMessage(`{"buckets":"` + strings.Repeat("l", 240) + `"}`)
	for _, followers := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("followers=%d", followers), func(b *testing.B) {
			benchmark(b, followers, 64, func(s *Store, d Draft) {
				ctx := context.Background()
				k := s.Enqueue(ctx, noon, d)
				ok(b, k[0].Err)
				c := &Conversation{Account: d.Account, OpenID: d.OpenID, Ledger: ledger}
				ok(b, s.Begin(ctx, noon, Begin{Seq: k[0].Message.Seq, Attempt: 1, Conversation: c}))
				ok(b, s.Finish(ctx, noon, Finish{
					Seq: k[0].Message.Seq, State: gateway.Sent, Conversation: c,
					Attempt: gateway.Attempt{N: 1, At: gateway.At(noon), TookMS: 40, Outcome: "sent"},
				}))
			})
		})
	}
}

// A start with b.N messages waiting: open, find what was lost, read the lanes.
func BenchmarkStart(b *testing.B) {
	path := benchDSN(b)
	s := open(b, path, Options{SecretKey: secretKey})
	for done := 0; done < b.N; {
		drafts := make([]Draft, min(1000, b.N-done))
		for i := range drafts {
			drafts[i] = hello(fmt.Sprint("o", i))
		}
		for _, k := range s.Enqueue(context.Background(), noon, drafts...) {
			ok(b, k.Err)
		}
		done += len(drafts)
	}
	ok(b, s.Close())
	b.ReportAllocs()
	b.ResetTimer()
	s = open(b, path, Options{SecretKey: secretKey})
	_, err := s.Recover(context.Background(), noon, nil)
	ok(b, err)
	n := 0
	for _, err := range s.Unfinished(context.Background()) {
		ok(b, err)
		n++
	}
	if n != b.N {
		b.Errorf("%d unfinished, want %d", n, b.N)
	}
}

// How long a message waits for its commit while files of 10 MB come in.
func BenchmarkBesideUploads(b *testing.B) {
	for _, uploads := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(uploads), func(b *testing.B) {
			s := open(b, benchDSN(b), Options{SecretKey: secretKey})
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for n := range uploads {
				wg.Go(func() {
					for i := 0; ; i++ {
						u := s.NewUpload(context.Background(), time.Now)
						file := make([]byte, 10<<20)
						file[0], file[1], file[2] = byte(n), byte(i), byte(i>>8)
						for len(file) > 0 {
							select {
							case <-stop:
								return
							default:
							}
							if _, err := u.Write(file[:ChunkSize]); err != nil {
								b.Error(err)
							}
							file = file[ChunkSize:]
						}
						if _, err := u.Keep(picture(), ByHand, 0); err != nil {
							b.Error(err)
						}
					}
				})
			}
			took := make([]time.Duration, b.N)
			for i := range took {
				began := time.Now()
				s.Enqueue(context.Background(), noon, hello(fmt.Sprint("o", i)))
				took[i] = time.Since(began)
			}
			close(stop)
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
