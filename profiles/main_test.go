package profiles

import (
	"os"
	"testing"

	"github.com/agentjail/agentjail/integration/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
