using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>The small wrong edits that a test suite has to notice: boundaries, signs, conditions, off by one, the opposite method, a statement left out.</summary>
static class Edits
{
    static readonly Dictionary<SyntaxKind, SyntaxKind[]> operators = new()
    {
        [SyntaxKind.LessThanExpression] = [SyntaxKind.LessThanOrEqualExpression, SyntaxKind.GreaterThanExpression],
        [SyntaxKind.LessThanOrEqualExpression] = [SyntaxKind.LessThanExpression, SyntaxKind.GreaterThanExpression],
        [SyntaxKind.GreaterThanExpression] = [SyntaxKind.GreaterThanOrEqualExpression, SyntaxKind.LessThanExpression],
        [SyntaxKind.GreaterThanOrEqualExpression] = [SyntaxKind.GreaterThanExpression, SyntaxKind.LessThanExpression],
        [SyntaxKind.EqualsExpression] = [SyntaxKind.NotEqualsExpression],
        [SyntaxKind.NotEqualsExpression] = [SyntaxKind.EqualsExpression],
        [SyntaxKind.LogicalAndExpression] = [SyntaxKind.LogicalOrExpression],
        [SyntaxKind.LogicalOrExpression] = [SyntaxKind.LogicalAndExpression],
        [SyntaxKind.AddExpression] = [SyntaxKind.SubtractExpression],
        [SyntaxKind.SubtractExpression] = [SyntaxKind.AddExpression],
        [SyntaxKind.MultiplyExpression] = [SyntaxKind.DivideExpression],
        [SyntaxKind.DivideExpression] = [SyntaxKind.MultiplyExpression],
        [SyntaxKind.ModuloExpression] = [SyntaxKind.MultiplyExpression],
        [SyntaxKind.LeftShiftExpression] = [SyntaxKind.RightShiftExpression],
        [SyntaxKind.RightShiftExpression] = [SyntaxKind.LeftShiftExpression],
        [SyntaxKind.BitwiseAndExpression] = [SyntaxKind.BitwiseOrExpression],
        [SyntaxKind.BitwiseOrExpression] = [SyntaxKind.BitwiseAndExpression],
        [SyntaxKind.ExclusiveOrExpression] = [SyntaxKind.BitwiseAndExpression],
    };

    static readonly Dictionary<SyntaxKind, SyntaxKind> assignments = new()
    {
        [SyntaxKind.AddAssignmentExpression] = SyntaxKind.SubtractAssignmentExpression,
        [SyntaxKind.SubtractAssignmentExpression] = SyntaxKind.AddAssignmentExpression,
        [SyntaxKind.MultiplyAssignmentExpression] = SyntaxKind.DivideAssignmentExpression,
        [SyntaxKind.DivideAssignmentExpression] = SyntaxKind.MultiplyAssignmentExpression,
        [SyntaxKind.AndAssignmentExpression] = SyntaxKind.OrAssignmentExpression,
        [SyntaxKind.OrAssignmentExpression] = SyntaxKind.AndAssignmentExpression,
        [SyntaxKind.LeftShiftAssignmentExpression] = SyntaxKind.RightShiftAssignmentExpression,
        [SyntaxKind.RightShiftAssignmentExpression] = SyntaxKind.LeftShiftAssignmentExpression,
    };

    static readonly Dictionary<string, string> opposites = Both(
        ("Min", "Max"), ("Any", "All"), ("First", "Last"), ("FirstOrDefault", "LastOrDefault"), ("OrderBy", "OrderByDescending"), ("Take", "Skip"),
        ("MinBy", "MaxBy"), ("Ceiling", "Floor"), ("StartsWith", "EndsWith"), ("Append", "Prepend"), ("IndexOf", "LastIndexOf"));

    /// <summary>What an expression may wrongly be in place of what it is.</summary>
    public static IEnumerable<ExpressionSyntax> Of(ExpressionSyntax expression, SemanticModel model) => expression switch
    {
        BinaryExpressionSyntax binary => OfBinary(binary, model),
        PrefixUnaryExpressionSyntax { RawKind: (int)SyntaxKind.LogicalNotExpression or (int)SyntaxKind.UnaryMinusExpression or (int)SyntaxKind.BitwiseNotExpression } prefix
            when model.GetConstantValue(prefix) is not { HasValue: true, Value: not bool } => [prefix.Operand],
        LiteralExpressionSyntax literal => OfLiteral(literal, model),
        InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax member } call when opposites.TryGetValue(member.Name.Identifier.Text, out var opposite) =>
            [call.WithExpression(member.WithName(Renamed(member.Name, opposite)))],
        _ when IsCondition(expression) && expression is InvocationExpressionSyntax or MemberAccessExpressionSyntax or IdentifierNameSyntax or IsPatternExpressionSyntax =>
            [SyntaxFactory.PrefixUnaryExpression(SyntaxKind.LogicalNotExpression, SyntaxFactory.ParenthesizedExpression(expression.WithoutTrivia()))],
        _ => [],
    };

    /// <summary>What a statement may wrongly be; null where it may be left out.</summary>
    public static IEnumerable<StatementSyntax?> Of(StatementSyntax statement)
    {
        switch (statement)
        {
            case ExpressionStatementSyntax { Expression: AssignmentExpressionSyntax assignment } whole when assignments.TryGetValue(assignment.Kind(), out var other):
                yield return whole.WithExpression(Assignment(assignment, other));
                break;
            case ExpressionStatementSyntax { Expression: PostfixUnaryExpressionSyntax postfix } whole when postfix.Kind() is SyntaxKind.PostIncrementExpression or SyntaxKind.PostDecrementExpression:
                yield return whole.WithExpression(SyntaxFactory.PostfixUnaryExpression(
                    postfix.IsKind(SyntaxKind.PostIncrementExpression) ? SyntaxKind.PostDecrementExpression : SyntaxKind.PostIncrementExpression, postfix.Operand));
                break;
            case ExpressionStatementSyntax { Expression: InvocationExpressionSyntax or AssignmentExpressionSyntax } or BreakStatementSyntax or ContinueStatementSyntax or ThrowStatementSyntax or ReturnStatementSyntax { Expression: null }:
                yield return null;
                break;
        }
    }

    static IEnumerable<ExpressionSyntax> OfBinary(BinaryExpressionSyntax binary, SemanticModel model)
    {
        if (binary.IsKind(SyntaxKind.CoalesceExpression)) return binary.Right is ThrowExpressionSyntax ? [] : [binary.Right];
        if (!operators.TryGetValue(binary.Kind(), out var others)) return [];
        if (binary.IsKind(SyntaxKind.AddExpression) && model.GetTypeInfo(binary).Type is { SpecialType: SpecialType.System_String } or { TypeKind: TypeKind.Delegate }) return [];
        return others.Select(kind => SyntaxFactory.BinaryExpression(kind, binary.Left, SyntaxFactory.Token(Token(kind)).WithTriviaFrom(binary.OperatorToken), binary.Right));
    }

    // A literal keeps the type that it is converted to, since the conditional expression that chooses is not a constant.
    static IEnumerable<ExpressionSyntax> OfLiteral(LiteralExpressionSyntax literal, SemanticModel model)
    {
        if (literal.IsKind(SyntaxKind.TrueLiteralExpression)) return [SyntaxFactory.LiteralExpression(SyntaxKind.FalseLiteralExpression)];
        if (literal.IsKind(SyntaxKind.FalseLiteralExpression)) return [SyntaxFactory.LiteralExpression(SyntaxKind.TrueLiteralExpression)];
        if (!literal.IsKind(SyntaxKind.NumericLiteralExpression) || literal.Parent is ExpressionSyntax parent && model.GetConstantValue(parent).HasValue) return [];
        return literal.Token.Value is int value ? [SyntaxFactory.ParseExpression(value == 1 ? "0" : $"{value + 1}")] : [];
    }

    static bool IsCondition(ExpressionSyntax expression) => expression.Parent switch
    {
        IfStatementSyntax statement => statement.Condition == expression,
        ConditionalExpressionSyntax conditional => conditional.Condition == expression,
        BinaryExpressionSyntax { RawKind: (int)SyntaxKind.LogicalAndExpression or (int)SyntaxKind.LogicalOrExpression } => true,
        _ => false,
    };

    static AssignmentExpressionSyntax Assignment(AssignmentExpressionSyntax assignment, SyntaxKind kind) =>
        SyntaxFactory.AssignmentExpression(kind, assignment.Left, assignment.Right);

    static SyntaxKind Token(SyntaxKind kind) => SyntaxFactory.BinaryExpression(kind, Zero, Zero).OperatorToken.Kind();

    static LiteralExpressionSyntax Zero => SyntaxFactory.LiteralExpression(SyntaxKind.NumericLiteralExpression, SyntaxFactory.Literal(0));

    static SimpleNameSyntax Renamed(SimpleNameSyntax name, string to) => name.WithIdentifier(SyntaxFactory.Identifier(to));

    static Dictionary<string, string> Both(params (string One, string Other)[] pairs) =>
        pairs.SelectMany(pair => new[] { pair, (One: pair.Other, Other: pair.One) }).ToDictionary(pair => pair.One, pair => pair.Other);
}
