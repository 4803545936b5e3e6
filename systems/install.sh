#!/usr/bin/env bash
# Fetches the real systems, each once per machine, into ${VITALAKE_TOOLS:-~/.cache/vitalake}/systems, from the package
# registries alone: no Docker, nothing outside that folder.
#
#   install.sh [kafka] [azurite] [python] [spark] [spark-azure] [rotel] [druid] [superset] [browser] [wire] [api] [azure]   all of them when none is named
#
# A part that is there is left alone; one that was not finished is begun anew. A part that cannot be had does not stop the
# others: the exit status is the number of parts that are missing.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
systems=${VITALAKE_TOOLS:-$HOME/.cache/vitalake}/systems

declare -A about=(
  [kafka]="Apache Kafka 4.1.0, from Maven: half a minute, 60 MB"
  [azurite]="Azurite 3.35.0, from npm: half a minute, 190 MB"
  [python]="the Python packages of the checks: half a minute, 480 MB"
  [spark]="Spark 4.2.0 with Delta 4.4.0, from PyPI and Maven: two minutes, 1.2 GB"
  [rotel]="rotel 0.0.1a15, a receiver of OTLP, from PyPI: a few seconds, 30 MB"
  [druid]="Apache Druid 33.0.0, from Maven: a minute, 270 MB"
  [superset]="Superset 6.1.0, from PyPI: two minutes, 850 MB"
  [browser]="playwright-core, from npm, for the Chromium that the machine has: a few seconds, 10 MB"
  [wire]="PostgreSQL's drivers for Python and Java and ADBC, from PyPI and Maven: half a minute, 200 MB"
  [api]="schemathesis 4.32.5, from PyPI: half a minute, 100 MB"
  [azure]="pycep and checkov, which check Bicep, from PyPI: half a minute, 340 MB"
  [spark-azure]="Hadoop's driver for ADLS, from Maven: a few seconds, 7 MB"
)

kafka() { # with a logger, so that broker and clients say what they do
  jars "$1" org.apache.kafka:kafka_2.13:4.1.0 org.apache.kafka:kafka-tools:4.1.0 org.slf4j:slf4j-simple:1.7.36
}

azurite() { npm install --prefix "$1" --no-fund --no-audit --loglevel=error azurite@3.35.0; }

python() { packages "$1" "$here/requirements.txt"; }

spark() { # Spark's own jars come with pyspark
  packages "$1" "$here/requirements-spark.txt" && jars "$1" 'io.delta:delta-spark_4.2_2.13:4.4.0!org.apache.spark'
}

spark-azure() { jars "$1" org.apache.hadoop:hadoop-azure:3.5.0; } # of the Hadoop that pyspark brings

# Druid's Parquet extension is published there as 0.20.0 alone: it links, with a newer Parquet and Hadoop's client beside it.
druid() {
  local central parquet="$1/extensions/druid-parquet-extensions"
  central=$(cd "$1" && mvn -q -B help:evaluate -Dexpression='project.repositories[0].url' -DforceStdout 2>/dev/null | grep -o 'https[^[:cntrl:]]*')
  # Druid's own description names repositories that are not needed and may not be reached.
  echo "<settings><mirrors><mirror><id>central</id><mirrorOf>*</mirrorOf><url>$central</url></mirror></mirrors></settings>" >"$1/settings.xml"
  druid_jars "$1" core "$1/lib" org.apache.druid:druid-services:33.0.0 org.hyperic:sigar &&
    druid_jars "$1" kafka "$1/extensions/druid-kafka-indexing-service" org.apache.druid.extensions:druid-kafka-indexing-service:33.0.0 org.hyperic:sigar &&
    druid_jars "$1" sketches "$1/extensions/druid-datasketches" org.apache.druid.extensions:druid-datasketches:33.0.0 org.hyperic:sigar &&
    druid_jars "$1" parquet "$parquet" org.apache.druid.extensions:druid-parquet-extensions:0.20.0 '*:*' \
      org.apache.parquet:parquet-avro:1.13.1 org.apache.hadoop:hadoop-client-api:3.3.6 org.apache.hadoop:hadoop-client-runtime:3.3.6
}

druid_jars() { # druid_jars FOLDER NAME OUT GROUP:ARTIFACT:VERSION EXCLUDED-GROUP:ARTIFACT [GROUP:ARTIFACT:VERSION…]
  local pom="$1/pom-$2.xml" settings="$1/settings.xml" out="$3" first="$4" excluded="$5" dependencies="" managed="" jar group artifact version
  shift 5
  for jar in "$first" "$@"; do
    IFS=: read -r group artifact version <<<"$jar"
    [ "$jar" = "$first" ] || excluded=
    dependencies+="<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>"
    [ -z "$excluded" ] || dependencies+="<exclusions><exclusion><groupId>${excluded%:*}</groupId><artifactId>${excluded#*:}</artifactId></exclusion></exclusions>"
    dependencies+="</dependency>"
  done
  [ $# -gt 0 ] || managed="<dependencyManagement><dependencies><dependency><groupId>org.apache.druid</groupId><artifactId>druid</artifactId><version>33.0.0</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>"
  echo "<project xmlns='http://maven.apache.org/POM/4.0.0'><modelVersion>4.0.0</modelVersion><groupId>vitalake</groupId><artifactId>druid</artifactId><version>1</version>$managed<dependencies>$dependencies</dependencies></project>" >"$pom"
  mvn -q -B -ntp -s "$settings" -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$out"
}

wire() { packages "$1" "$here/requirements-wire.txt" && jars "$1" org.postgresql:postgresql:42.7.13; }

api() { packages "$1" "$here/requirements-api.txt"; }

rotel() { python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check rotel==0.0.1a15; }

# With its database made and an administrator in it, once: that takes longer than all else about it.
superset() {
  packages "$1" "$here/requirements-superset.txt" && cp "$here/superset_config.py" "$1/superset_config.py" &&
    SUPERSET_CONFIG_PATH="$1/superset_config.py" SUPERSET_HOME="$1/fresh" PATH="$1/bin:$PATH" bash -ec '
      mkdir -p "$SUPERSET_HOME"
      superset db upgrade
      superset fab create-admin --username admin --firstname A --lastname D --email admin@localhost --password admin
      superset init'
}

azure() { packages "$1" "$here/requirements-azure.txt"; }

browser() { npm install --prefix "$1" --no-fund --no-audit --loglevel=error playwright-core@1.56.1; }

packages() { # packages FOLDER REQUIREMENTS
  python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check -r "$2"
}

jars() { # jars FOLDER GROUP:ARTIFACT:VERSION[!EXCLUDED-GROUP]…: they and what they depend on, in FOLDER/jars
  local folder=$1 dependencies="" jar coordinates excluded group artifact version
  shift
  for jar in "$@"; do
    IFS='!' read -r coordinates excluded <<<"$jar"
    IFS=: read -r group artifact version <<<"$coordinates"
    [ -z "$excluded" ] || excluded="<exclusions><exclusion><groupId>$excluded</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    dependencies+="<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>$excluded</dependency>"
  done
  cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>vitalake</groupId><artifactId>systems</artifactId><version>1</version>
<dependencies>$dependencies</dependencies></project>
POM
  mvn -q -B -ntp -f "$folder/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder/jars"
}

missing=0
[ $# -gt 0 ] || set -- kafka azurite python spark spark-azure rotel druid superset browser api wire azure
for part in "$@"; do
  [ -n "${about[$part]:-}" ] || { echo "error: there is no part $part; there are: ${!about[*]}" >&2; exit 64; }
  folder=$systems/$part
  [ ! -e "$folder/whole" ] || continue
  echo "Fetching ${about[$part]}"
  rm -rf "$folder" && mkdir -p "$folder"
  began=$SECONDS
  if "$part" "$folder" >"$folder.log" 2>&1; then
    touch "$folder/whole"
    echo "  done in $((SECONDS - began)) s"
  else
    missing=$((missing + 1))
    echo "  missing: $part could not be had; $folder.log ends with"
    tail -3 "$folder.log" | sed 's/^/    /'
  fi
done
exit $missing
