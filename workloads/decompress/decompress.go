// Package decompress gives the records of a compressed batch, and no more of them than the runner has memory for.
package decompress

import (
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Max is how many bytes the records of a batch may have: far above any batch that a client of ours sends. What a broker makes of a megabyte may else
// be two gigabytes.
const Max = 64 << 20

// bounded is one decompressor for all: it keeps its decoders, of which a new one takes up to a megabyte and, with a finalizer, outlives a collection of garbage. Only
// that of a client can be bounded, so a client is made to take it from. It connects to nobody.
var bounded = sync.OnceValues(func() (kgo.Decompressor, error) {
	cl, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(Max))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	d, ok := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !ok {
		return nil, errors.New("the client does not give its decompressor away")
	}
	return d, nil
})

// Records decompresses what was compressed with a codec, by its number in a batch's attributes. It may be called at once from several goroutines.
func Records(codec int8, data []byte) ([]byte, error) {
	d, err := bounded()
	if err != nil {
		return nil, fmt.Errorf("making a decompressor of at most %d bytes: %w", Max, err)
	}
	if data, err = d.Decompress(data, kgo.CompressionCodecType(codec)); err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	return data, nil
}
