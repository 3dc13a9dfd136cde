package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// published is where the schemas of Kubernetes' API are: what kubectl-validate has in itself.
// Nothing of it is compiled, which would take minutes.
const published = "sigs.k8s.io/kubectl-validate@v0.0.4"

// schemas has those of Kubernetes 1.30 for an apiVersion. As an API server that is strict, which
// kubectl asks for, they allow no field that is not theirs.
func schemas(t *testing.T, apiVersion string) (location string, of map[string]any, all *jsonschema.Compiler) {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", published).Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil {
		t.Fatal(module.Error, err, jsonErr)
	}
	group := "apis/" + apiVersion
	if !strings.Contains(apiVersion, "/") {
		group = "api/" + apiVersion
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "pkg/openapiclient/builtins/1.30", group+".json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	closeFields(doc)
	all = jsonschema.NewCompiler()
	location = "kubernetes:" + apiVersion
	if err := all.AddResource(location, doc); err != nil {
		t.Fatal(err)
	}
	return location, doc.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any), all
}

// closeFields allows no others where a schema names fields.
func closeFields(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		_, named := s["properties"].(map[string]any)
		if _, others := s["additionalProperties"]; named && !others {
			s["additionalProperties"] = false
		}
		for _, inner := range s {
			closeFields(inner)
		}
	case []any:
		for _, inner := range s {
			closeFields(inner)
		}
	}
}

// schemaOf is that of the objects of a kind.
func schemaOf(t *testing.T, apiVersion, kind string) (*jsonschema.Schema, error) {
	t.Helper()
	location, of, all := schemas(t, apiVersion)
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", group
	}
	for name, schema := range of {
		kinds, _ := schema.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			if maps.Equal(k.(map[string]any), map[string]any{"group": group, "version": version, "kind": kind}) && !strings.HasSuffix(name, "Options") {
				return all.Compile(location + "#/components/schemas/" + name)
			}
		}
	}
	return nil, fmt.Errorf("%s has no %s", apiVersion, kind)
}

// validate holds all objects of a file against the schemas, and says how many there are.
func validate(t *testing.T, text string) (objects int, err error) {
	t.Helper()
	for _, part := range strings.Split(text, "\n---\n") {
		asJSON, err := yaml.YAMLToJSON([]byte(part))
		if err != nil {
			return objects, err
		}
		object, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return objects, err
		}
		fields := object.(map[string]any)
		schema, err := schemaOf(t, fields["apiVersion"].(string), fields["kind"].(string))
		if err != nil {
			return objects, err
		}
		if err := schema.Validate(object); err != nil {
			return objects, err
		}
		objects++
	}
	return objects, nil
}

// TestKubernetesSchema: the manifests are what the API server of Kubernetes takes.
func TestKubernetesSchema(t *testing.T) {
	for _, file := range kubernetesFiles(t) {
		text := readFile(t, file)
		n, err := validate(t, text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if kinds := strings.Count("\n"+text, "\nkind: "); n != kinds {
			t.Errorf("%d of %d objects in %s were looked at", n, kinds, file)
		}
	}
}

// TestBrokenManifests: the schemas find what is wrong.
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
		if _, err := validate(t, broken); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %q: %v, want a word about %s", c.file, c.broken, err, c.want)
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
