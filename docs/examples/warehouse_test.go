// Tests of a program in Go: one stack, and a clean one for each test.
package warehouse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

type envelope struct {
	Data   json.RawMessage
	Errors []struct{ Code, Problem, Remedy string }
}

var (
	stack    = fmt.Sprintf("go-%d", os.Getpid())
	env      map[string]string
	requests io.WriteCloser
	answers  *bufio.Scanner
)

func checked(text []byte, into any) error {
	var document envelope
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	if len(document.Errors) > 0 {
		first := document.Errors[0]
		return fmt.Errorf("%s -> %s [%s]", first.Problem, first.Remedy, first.Code)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(document.Data, into)
}

// hailbox runs a command on the stack; its result goes to into.
func hailbox(into any, words ...string) error {
	command := exec.Command("hailbox", append(append([]string{"--stack", stack}, words...), "--json")...)
	output, err := command.Output()
	if len(output) == 0 {
		return err
	}
	return checked(output, into)
}

func run(m *testing.M) (int, error) {
	if name, given := os.LookupEnv("HAILBOX_STACK"); given {
		stack = name
	}
	defer hailbox(nil, "destroy")
	if err := hailbox(nil, "up", "--profile", "fs"); err != nil {
		return 1, err
	}
	if err := hailbox(&env, "env"); err != nil {
		return 1, err
	}
	// It stays, and resets once for each line: no test waits for a program to start.
	resetter := exec.Command("hailbox", "--stack", stack, "reset", "--repeat", "--quiet")
	requests, _ = resetter.StdinPipe()
	output, _ := resetter.StdoutPipe()
	answers = bufio.NewScanner(output)
	if err := resetter.Start(); err != nil {
		return 1, err
	}
	defer resetter.Wait()
	defer requests.Close()
	return m.Run(), nil
}

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

func clean(t *testing.T) {
	fmt.Fprintln(requests)
	if !answers.Scan() {
		t.Fatal("the stack could not be reset")
	}
	if err := checked(answers.Bytes(), nil); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, method, path, body string) (int, string) {
	request, err := http.NewRequest(method, env["IWHD_URL"]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

func TestABodyComesBack(t *testing.T) {
	clean(t)
	send(t, "PUT", "/images", "")
	if status, _ := send(t, "PUT", "/images/one", "body"); status != 201 {
		t.Fatal(status)
	}
	if _, text := send(t, "GET", "/images/one", ""); text != "body" {
		t.Fatal(text)
	}
}

func TestANewWarehouseHasNoImages(t *testing.T) {
	clean(t)
	if status, _ := send(t, "GET", "/images", ""); status != 404 {
		t.Fatal(status)
	}
}
