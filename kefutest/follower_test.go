package kefutest

import (
	"math"
	"testing"
)

// A place that is none is refused before anything is locked; it once stopped all.
func TestNoSuchPlace(t *testing.T) {
	w := New()
	defer w.Close()
	nan, far := math.NaN(), 181.0
	for _, d := range []Details{{Lat: &nan}, {Lon: &nan}, {Lat: &far}, {Lon: &far}} {
		if _, err := w.Does("oUser1", "location", d); err == nil {
			t.Errorf("%+v: was there", d)
		}
	}
	if _, err := w.Does("oUser1", "location", Details{}); err != nil {
		t.Error(err)
	}
}
