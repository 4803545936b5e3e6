import java.sql.*;
import java.util.*;

/** The JDBC driver: rows in portions, prepared statements in both forms, metadata, errors. */
public class Client {
    static void need(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError(what + ": got " + got + ", want " + want);
    }

    static String refused(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        } catch (SQLException refusal) {
            if (!connection.getAutoCommit()) connection.rollback();
            return refusal.getSQLState();
        }
        throw new AssertionError(sql + " is not refused");
    }

    static int count(ResultSet found) throws SQLException {
        int rows = 0;
        while (found.next()) rows++;
        return rows;
    }

    public static void main(String[] arguments) throws Exception {
        int rows = Integer.parseInt(arguments[1]);
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/vitalake?user=ann";
        for (String mode : List.of("extended", "simple")) {
            try (Connection connection = DriverManager.getConnection(url + "&preferQueryMode=" + mode + "&prepareThreshold=2")) {
                DatabaseMetaData metadata = connection.getMetaData();
                need("product", metadata.getDatabaseProductName(), "PostgreSQL");
                Set<String> schemas = new TreeSet<>();
                try (ResultSet found = metadata.getSchemas()) {
                    while (found.next()) schemas.add(found.getString("TABLE_SCHEM"));
                }
                need("schemas", schemas.containsAll(List.of("raw", "curated", "serving")), true);
                try (ResultSet found = metadata.getTables(null, "raw", "%", new String[] {"TABLE"})) {
                    found.next();
                    need("table", found.getString("TABLE_NAME"), "people");
                }
                List<String> columns = new ArrayList<>();
                try (ResultSet found = metadata.getColumns(null, "raw", "people", "%")) {
                    while (found.next()) columns.add(found.getString("COLUMN_NAME") + " " + found.getString("TYPE_NAME"));
                }
                need("columns", columns.containsAll(List.of("id int8", "who text", "height float8", "adult bool", "born date", "seen timestamptz")), true);
                need("primary keys", count(metadata.getPrimaryKeys(null, "raw", "people")), 0);
                need("imported keys", count(metadata.getImportedKeys(null, "raw", "people")), 0);
                need("exported keys", count(metadata.getExportedKeys(null, "raw", "people")), 0);
                need("indexes", count(metadata.getIndexInfo(null, "raw", "people", false, false)), 0);
                need("catalogues", count(metadata.getCatalogs()), 1);
                need("types", count(metadata.getTypeInfo()) > 10, true);
                need("kinds of tables", count(metadata.getTableTypes()) > 0, true);
                try (PreparedStatement statement = connection.prepareStatement(
                        "SELECT id, who, height, adult, born, seen FROM raw.people WHERE id = ? AND height >= ? AND seen > ?")) {
                    for (int turn = 0; turn < 6; turn++) {
                        statement.setLong(1, 1);
                        statement.setDouble(2, 0.1);
                        statement.setTimestamp(3, Timestamp.valueOf("2020-01-01 00:00:00"));
                        try (ResultSet found = statement.executeQuery()) {
                            need("a row", found.next(), true);
                            need("id", found.getLong(1), 1L);
                            need("who", found.getString(2), "person, 1");
                            need("height", found.getDouble(3), 0.25);
                            need("adult", found.getBoolean(4), false);
                            need("born", found.getDate(5), java.sql.Date.valueOf("2000-01-02"));
                            need("seen", found.getTimestamp(6).toInstant().toString(), "2026-01-01T00:00:01Z");
                        }
                    }
                }
                connection.setAutoCommit(false);
                try (Statement statement = connection.createStatement()) {
                    statement.setFetchSize(1000);
                    need("rows in portions", count(statement.executeQuery("SELECT id FROM raw.people")), rows);
                }
                connection.commit();
                need("a table that is not there", refused(connection, "SELECT * FROM nosuch"), "42P01");
                need("an insert", refused(connection, "INSERT INTO raw.people VALUES (1)"), "25006");
                try (Statement statement = connection.createStatement()) {
                    statement.setQueryTimeout(1);
                    try {
                        statement.executeQuery("SELECT count(*) FROM raw.people a, raw.people b, raw.people c WHERE a.id + b.id + c.id > 1");
                        throw new AssertionError("it has no end");
                    } catch (SQLException refusal) {
                        need("a timeout", refusal.getSQLState(), "57014");
                        connection.rollback();
                    }
                }
                need("still answers", connection.isValid(5), true);
            }
        }
        System.out.println("JDBC: portions, prepared statements, metadata, timeouts");
    }
}
