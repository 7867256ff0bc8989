package main

import (
	"fmt"
	"testing"
)

func TestTrustedProxies(t *testing.T) {
	for _, tt := range []struct {
		given []string
		want  string // "": refused
	}{
		{nil, "[]"},
		{[]string{"10.0.0.0/8", "192.0.2.1"}, "[10.0.0.0/8 192.0.2.1/32]"},
		{[]string{"10.1.2.3/8"}, "[10.0.0.0/8]"},
		{[]string{"::1", "fd00::/8"}, "[::1/128 fd00::/8]"},
		{[]string{"::ffff:10.0.0.1"}, "[10.0.0.1/32]"},
		{[]string{"::ffff:10.1.2.3/104"}, "[10.0.0.0/8]"},
		{[]string{"::ffff:0.0.0.0/96"}, ""},
		{[]string{"::ffff:10.0.0.0/8"}, ""},
		{[]string{"0.0.0.0/0"}, ""},
		{[]string{"::/0"}, ""},
		{[]string{"10.0.0.0/33"}, ""},
		{[]string{"proxy.example.com"}, ""},
		{[]string{"10.0.0.0/8 "}, ""},
		{[]string{""}, ""},
	} {
		got, err := networks(tt.given)
		if (err == nil) != (tt.want != "") || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("%q: %v, %v, want %q", tt.given, got, err, tt.want)
		}
	}
}
