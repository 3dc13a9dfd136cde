package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// validator is kubectl-validate, which has the schemas of Kubernetes in itself.
func validator(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("kubectl-validate")
	if err != nil {
		out, envErr := exec.Command("go", "env", "GOPATH").Output()
		path = filepath.Join(strings.TrimSpace(string(out)), "bin", "kubectl-validate")
		if _, err = os.Stat(path); envErr != nil || err != nil {
			const missing = "go install sigs.k8s.io/kubectl-validate@v0.0.4"
			if os.Getenv("CACHEASIDE_REQUIRE_KUBECTL_VALIDATE") == "1" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
	}
	return path
}

func validate(t *testing.T, files ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(validator(t), append([]string{"--version", "1.30"}, files...)...)
	// Or it would take the schemas of the cluster that somebody works with.
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+t.TempDir(), "KUBERNETES_SERVICE_HOST=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestKubernetesSchema: the manifests are what the API server of Kubernetes takes.
func TestKubernetesSchema(t *testing.T) {
	out, err := validate(t, kubernetesFiles(t)...)
	t.Log(out)
	if err != nil {
		t.Error(err)
	}
	for _, file := range kubernetesFiles(t) {
		if !strings.Contains(out, file) {
			t.Errorf("%s was not looked at", file)
		}
	}
}

// TestBrokenManifests: the validator finds what is wrong.
func TestBrokenManifests(t *testing.T) {
	for _, c := range []struct{ file, old, broken, want string }{
		{"blog.yaml", "readinessProbe:", "readynessProbe:", "readynessProbe"},
		{"blog.yaml", "replicas: 2", "replicas: two", "replicas"},
		{"blog.yaml", "httpGet: {path: /readyz, port: health}", "httpGet: {path: /readyz}", "port"},
		{"dragonfly.yaml", "fsGroup: 999", "fsGroup: dfly", "fsGroup"},
		{"dragonfly.yaml", "      containers:", "      container:", "container"},
		{"network.yaml", "podSelector:\n    matchLabels", "podSelector:\n    matchLabel", "matchLabel"},
		{"namespace.yaml", "kind: Namespace", "kind: Namespaces", "Namespaces"},
	} {
		text := readFile(t, "kubernetes/"+c.file)
		broken := strings.Replace(text, c.old, c.broken, 1)
		if broken == text {
			t.Fatalf("%s has no %q", c.file, c.old)
		}
		path := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := validate(t, path); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s with %q: %v, want a word about %s in\n%s", c.file, c.broken, err, c.want, out)
		}
	}
}

// TestComposeSchema: the Compose file is what Docker takes, and a broken one is not.
func TestComposeSchema(t *testing.T) {
	good := composeFile(t)
	if _, err := loadCompose(good); err != nil {
		t.Fatal(err)
	}
	for old, broken := range map[string]string{
		"stop_grace_period: 40s": "stop_grace_periode: 40s",
		"mem_limit: 256m":        "mem_limit: [256m]",
		"ulimits: {memlock: -1}": "ulimits: {memlock: much}",
		"networks: [front]":      "networks: [nowhere]",
		"secrets: [ca.crt, ":     "secrets: [ca.cert, ",
	} {
		text := bytes.Replace(good, []byte(old), []byte(broken), 1)
		if bytes.Equal(text, good) {
			t.Fatalf("the file has no %q", old)
		}
		if _, err := loadCompose(text); err == nil {
			t.Errorf("%q is accepted", broken)
		}
	}
}
