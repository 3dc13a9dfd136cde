package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
)

// object is what the tests need of a manifest. That it has no other fields than there are is
// what the schemas are for.
type object struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	} `yaml:"metadata"`
	Spec struct {
		Replicas int `yaml:"replicas"`
		Template struct {
			Spec pod `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type pod struct {
	Grace      int         `yaml:"terminationGracePeriodSeconds"`
	Containers []container `yaml:"containers"`
	Volumes    []struct {
		Name   string `yaml:"name"`
		Secret struct {
			Name string `yaml:"secretName"`
		} `yaml:"secret"`
	} `yaml:"volumes"`
}

type container struct {
	Image string   `yaml:"image"`
	Args  []string `yaml:"args"`
	Env   []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Ports []struct {
		Name string `yaml:"name"`
		Port int    `yaml:"containerPort"`
	} `yaml:"ports"`
	Resources struct {
		Limits struct {
			Memory string `yaml:"memory"`
		} `yaml:"limits"`
	} `yaml:"resources"`
	Readiness probe `yaml:"readinessProbe"`
	Liveness  probe `yaml:"livenessProbe"`
	Startup   probe `yaml:"startupProbe"`
	Mounts    []struct {
		Name string `yaml:"name"`
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTP struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

// workload is a container, whoever starts it.
type workload struct {
	image    string
	args     []string
	env      map[string]string
	mounts   map[string]string // path in the container: path below the folder of secrets
	replicas int
	memory   int64 // bytes
	grace    time.Duration
}

// manifests are the objects of all files, by kind and name.
func manifests(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, file := range kubernetesFiles(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var o object
			if err := d.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all[o.Kind+" "+o.Metadata.Name] = o
		}
	}
	return all
}

func kubernetesFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	return files
}

// kubernetes is a workload as the kubelet would start it.
func kubernetes(t *testing.T, name string) workload {
	t.Helper()
	o, ok := manifests(t)[name]
	if !ok || len(o.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("there is no %s with one container", name)
	}
	p, c := o.Spec.Template.Spec, o.Spec.Template.Spec.Containers[0]
	w := workload{image: c.Image, args: c.Args, env: map[string]string{}, mounts: map[string]string{}, replicas: o.Spec.Replicas, grace: time.Duration(p.Grace) * time.Second}
	for _, e := range c.Env {
		w.env[e.Name] = e.Value
	}
	for _, v := range p.Volumes {
		for _, m := range c.Mounts {
			if m.Name == v.Name && v.Secret.Name != "" {
				w.mounts[m.Path] = v.Secret.Name // secrets.sh makes a folder of this name
			}
		}
	}
	mib, err := strconv.ParseInt(strings.TrimSuffix(c.Resources.Limits.Memory, "Mi"), 10, 64)
	if err != nil {
		t.Fatalf("%s: a memory limit of %q", name, c.Resources.Limits.Memory)
	}
	w.memory = mib << 20
	return w
}

// loadCompose reads the Compose file, or what is given in its place, as Docker does.
func loadCompose(content []byte) (*types.Project, error) {
	dir, err := filepath.Abs("compose")
	if err != nil {
		return nil, err
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml"), Content: content}},
		Environment: types.Mapping{},
	})
}

func composeFile(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("compose/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compose is a workload as Docker would start it.
func compose(t *testing.T, names ...string) workload {
	t.Helper()
	project, err := loadCompose(composeFile(t))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := project.Services[names[0]]
	if !ok {
		t.Fatalf("there is no service %s", names[0])
	}
	w := workload{image: s.Image, args: s.Command, env: map[string]string{}, mounts: map[string]string{}, replicas: len(names), memory: int64(s.MemLimit)}
	for name, value := range s.Environment {
		w.env[name] = *value
	}
	for _, secret := range s.Secrets {
		file, err := filepath.Rel(filepath.Join(project.WorkingDir, "secrets"), project.Secrets[secret.Source].File)
		if err != nil {
			t.Fatal(err)
		}
		w.mounts["/run/secrets/"+secret.Source] = file
	}
	if s.StopGracePeriod != nil {
		w.grace = time.Duration(*s.StopGracePeriod)
	}
	return w
}

// stacks are the two ways to run it all.
var stacks = map[string]func(t *testing.T) (dragonfly, blog workload){
	"kubernetes": func(t *testing.T) (dragonfly, blog workload) {
		return kubernetes(t, "StatefulSet dragonfly"), kubernetes(t, "Deployment blog")
	},
	"compose": func(t *testing.T) (dragonfly, blog workload) {
		return compose(t, "dragonfly"), compose(t, "blog-1", "blog-2")
	},
}

// makeSecrets runs the script of the README.
func makeSecrets(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	if out, err := exec.Command("sh", "secrets.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
	return dir
}

func TestSecrets(t *testing.T) {
	dir := makeSecrets(t)
	if out, err := exec.Command("sh", "secrets.sh", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "is there already") {
		t.Errorf("secrets.sh overwrites: %v %s", err, out)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the folder: %v %v", info.Mode(), err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "blog/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "dragonfly/tls.crt"), filepath.Join(dir, "dragonfly/tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dragonfly", "dragonfly.cacheaside.svc", "localhost"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); err == nil {
		t.Error("the key of the authority is kept")
	}
	// The user has the rights that the store's README lists, no more and no less.
	readme, err := os.ReadFile("../../core/dragonfly/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\nOn Dragonfly:\n")
	_, section, _ = strings.Cut(section, "redis-cli ACL SETUSER cacheaside ")
	section, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("the store's README has no rights for Dragonfly")
	}
	users, err := os.ReadFile(filepath.Join(dir, "dragonfly/users.acl"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(users), "\nuser cacheaside ")
	if !ok {
		t.Fatalf("no user cacheaside in %s", users)
	}
	password, err := os.ReadFile(filepath.Join(dir, "blog/password"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(strings.NewReplacer("'", "", "\\\n", "", ">secret", ">"+strings.TrimSpace(string(password))).Replace(section))
	if got := strings.Fields(line); !slices.Equal(got, want) {
		t.Errorf("users.acl has\n%v, the store's README\n%v", got, want)
	}
}

// TestAgreement: what is said in several places is the same there.
func TestAgreement(t *testing.T) {
	small, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var flags [][]string
	paths := regexp.MustCompile(`/(etc/dragonfly|run/secrets)/`)
	for name, load := range stacks {
		dragonfly, blog := load(t)
		if !strings.Contains(string(small), "image: "+dragonfly.image+"\n") {
			t.Errorf("%s: %s is not the Dragonfly of examples/docker-compose.yml", name, dragonfly.image)
		}
		var these []string
		for _, arg := range dragonfly.args {
			these = append(these, paths.ReplaceAllString(arg, "/"))
			if arg == "--maxmemory=1gb" && dragonfly.memory < 5<<28 {
				t.Errorf("%s: a limit of %d bytes leaves too little beyond 1 GiB", name, dragonfly.memory)
			}
		}
		flags = append(flags, these)
		drain, err := time.ParseDuration(blog.env["DRAIN"])
		if least := drain + 20*time.Second; err != nil || blog.grace <= least {
			t.Errorf("%s: the service is killed after %v, want more than %v: %v", name, blog.grace, least, err)
		}
		if blog.replicas != 2 {
			t.Errorf("%s: %d instances", name, blog.replicas)
		}
		for _, w := range []workload{dragonfly, blog} {
			if strings.HasSuffix(w.image, ":latest") || w.memory == 0 {
				t.Errorf("%s: the image %q, a limit of %d", name, w.image, w.memory)
			}
		}
	}
	if !slices.Equal(flags[0], flags[1]) {
		t.Errorf("Dragonfly has the flags\n%v and\n%v", flags[0], flags[1])
	}
	service := manifests(t)["Deployment blog"].Spec.Template.Spec.Containers[0]
	for what, p := range map[string]probe{"/readyz": service.Readiness, "/livez": service.Liveness, "/livez at first": service.Startup} {
		if path, _, _ := strings.Cut(what, " "); p.HTTP.Path != path || p.HTTP.Port != "health" {
			t.Errorf("the probe for %s asks %s at %s", what, p.HTTP.Path, p.HTTP.Port)
		}
	}
	_, blog := stacks["kubernetes"](t)
	for _, p := range service.Ports {
		env := map[string]string{"http": "ADDR", "health": "HEALTH", "admin": "ADMIN"}[p.Name]
		if got := blog.env[env]; got != ":"+strconv.Itoa(p.Port) {
			t.Errorf("the port %s is %d, %s says %s", p.Name, p.Port, env, got)
		}
	}
	docker, work := readFile(t, "Dockerfile"), readFile(t, "../../go.work")
	line := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(work)
	if line == nil || !strings.Contains(docker, "FROM golang:"+line[1]+" AS") {
		t.Errorf("the Dockerfile has not the Go of go.work, %v", line)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
