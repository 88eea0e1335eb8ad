// Package soaktest is Soak in other people's Go tests: a test starts a cluster that speaks the Kafka protocol, breaks it, and has everything that was
// seen judged by all of Soak's checkers.
//
//	func TestMain(m *testing.M) { soaktest.Main(m) }
//
//	func TestOrdersSurviveALostController(t *testing.T) {
//		c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond})
//		c.WaitIntervals(3)
//		f := c.Fault("partition", "raft-leader")
//		c.WaitIntervals(6)
//		f.Heal()
//		c.Check()
//	}
//
// Start gives three nodes, child processes on loopback unless Options.Driver says "docker", under a load of Soak's own: records, topics that come and go,
// consumers that read along. Fault breaks something and returns when that was seen to bite. Check mends everything, waits until ten election intervals have
// been counted, reads every replica to its end, and fails the test with what was violated, in words. A test that proves nothing fails as well: its
// verdict is inconclusive. Whatever is started ends with the test (t.Cleanup), however it ends; a test binary that is killed takes its nodes along.
//
// # What a test can do
//
//   - Cluster.Bootstrap is where clients of the test's own connect; Cluster.Producer has what they send judged with the rest.
//   - Run carries out a whole scenario, one of Soak's or the test's own YAML.
//   - Check("acked-records", …) is content with these checkers where the test gives the others nothing to judge. Judge and Result are for
//     those who want to look themselves.
//   - Options.Bugs plants historical bugs in the nodes, so that a test can be seen to fail.
//
// # When a test fails
//
// Its run folder stays, and the log says where: records, logs of the nodes, the verdict, a report. soak check judges it again; soak run on its schedule.yaml breaks a
// cluster at the same times and in the same roles, without the test. In CI, set SOAKTEST_DIR to a folder that is kept as an artifact, or use go test -artifacts.
//
// Tests may run in parallel, as far as the machine lets them: a cluster of three keeps a core busy. On a machine with too little to give, a checker that has bounds of time
// takes the stalls that it sees into account, and the verdict may be inconclusive.
//
// The package decides nothing about how a run goes (chaos/runloop) and judges nothing (checkers).
package soaktest
