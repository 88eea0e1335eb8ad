package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every field of a kmsg value, in depth, to something that is not its zero value where it can; lists get one or
// two elements, nullable fields are null one time in four. The tags of some structs get a field nobody knows.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if rng.IntN(4) > 0 || v.Type().Elem().Kind() != reflect.String {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if rng.IntN(3) == 0 {
				tags.Set(uint32(20000+rng.IntN(100)), []byte(strings.Repeat("t", rng.IntN(5))))
			}
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "Version" && f.IsExported() {
				fill(rng, v.Field(i))
			}
		}
	case reflect.Slice:
		n := 1 + rng.IntN(2)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			n = rng.IntN(300)
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.String:
		v.SetString(strings.Repeat("s", 1+rng.IntN(200)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(1 + rng.IntN(100)))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + rng.IntN(100)))
	default:
		panic("kmsg field of kind " + v.Kind().String())
	}
}

// filled returns a message of the same type with every field set.
func filled(rng *rand.Rand, m message) message {
	p := reflect.New(reflect.TypeOf(m).Elem())
	fill(rng, p.Elem())
	return p.Interface().(message)
}
