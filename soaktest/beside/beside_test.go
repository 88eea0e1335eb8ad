package beside

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"soak/soaktest"
)

func TestMain(m *testing.M) { soaktest.Main(m) }

// Orders go on being taken, and none is lost, while the controller is cut off.
func TestOrdersSurviveALostController(t *testing.T) {
	c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond, Topics: []soaktest.Topic{{Name: "orders", Partitions: 1}}})
	cut := c.Fault("partition", "raft-leader")
	orders := c.Producer("orders")
	client := &kafka.Client{Addr: kafka.TCP(c.Bootstrap()...), Timeout: 10 * time.Second}
	for range 20 {
		sent := orders.Send(0, 100)
		r, err := client.Produce(context.Background(), &kafka.ProduceRequest{
			Topic: "orders", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes(sent.Value)}),
		})
		if err != nil || r.Error != nil {
			sent.Unknown(err)
			continue
		}
		sent.Acked(r.BaseOffset)
	}
	cut.Heal()
	c.Check()
}
